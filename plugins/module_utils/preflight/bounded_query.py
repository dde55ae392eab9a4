# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A query over rows of the source with a time limit, because preflight does not wait for it."""

from __future__ import annotations

from typing import Any

from ..common.errors import MigrationError
from ..postgres.session import Session


def rows_within(session: Session, seconds: int, query: str, settings: str = "") -> list[dict[str, Any]] | None:
    """The rows of a query that only reads; None when it takes longer than ``seconds``, waits for a lock, or fails.

    settings: ``SET`` statements for this query alone.
    """
    session.execute("BEGIN TRANSACTION READ ONLY")
    try:
        session.execute(f"SET LOCAL statement_timeout = '{seconds}s'")
        if settings:
            session.execute(settings.replace("SET ", "SET LOCAL "))
        return session.rows(query)
    except MigrationError as error:
        if error.code not in ("sql", "locked"):
            raise
        return None
    finally:
        session.execute("ROLLBACK")
