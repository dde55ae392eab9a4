# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect the planner's statistics of every table. A table whose ANALYZE fails doesn't stop the others."""

from __future__ import annotations

from typing import Callable

from ..common.errors import MigrationError
from .connection import ConnectionSettings
from .relations import list_tables
from .session import Session
from .workers import run_in_sessions


def analyze_tables(
    settings: ConnectionSettings,
    jobs: int,
    log: Callable[[str], None],
    advance: Callable[[int, str], None] = lambda _number, _name: None,
) -> None:
    """ANALYZE each table of the database, ``jobs`` at a time. advance: called with 1 and the table's name after each table.

    A failed ANALYZE is written to ``log``. ANALYZE also reads foreign tables that inherit from the table, and their servers may not answer.
    """
    with Session(settings) as session:
        names = [table.sql for table in list_tables(session).kept]

    def analyze(session: Session, name: str) -> None:
        try:
            session.execute(f"ANALYZE {name}")
        except MigrationError as error:
            if error.code != "sql":
                raise
            log(f"No statistics of {name}: {error.message}")
        advance(1, name)

    run_in_sessions(names, jobs, lambda: Session(settings), analyze)
