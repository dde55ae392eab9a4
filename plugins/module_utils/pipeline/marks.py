# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The completion marks of chunks, kept in the database that is loaded.

A chunk's rows and its mark are one transaction. So a chunk whose mark is there is complete, and one without a mark left no row.
"""

from __future__ import annotations

from ..postgres.connection import Session

SCHEMA = "couch2pg_stream"


def prepare(session: Session) -> set[str]:
    """Make the table of marks, unless it is there; returns the keys of the chunks that are complete."""
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    session.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.chunks (chunk text NOT NULL, rows bigint NOT NULL)")
    return {row["chunk"] for row in session.rows(f"SELECT chunk FROM {SCHEMA}.chunks")}


def add(session: Session, chunk: str, rows: int) -> None:
    """Mark a chunk as complete, in the transaction that loaded it."""
    session.execute(f"INSERT INTO {SCHEMA}.chunks (chunk, rows) VALUES (%s, %s)", [chunk, rows])


def remove(session: Session) -> None:
    """Remove the marks when all rows are loaded: they are no part of the database."""
    session.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
