# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan and the marks of a copy, in a schema of the database that is loaded: all chunks, the complete ones, and their contents.

A chunk's rows and its mark are written in one transaction. So a chunk with a mark is complete, and a chunk without one left no row.
The plan is kept with the marks, because a plan that is made later could divide a table at other blocks.
"""

from __future__ import annotations

import json
from typing import Callable

from ..postgres import event_triggers
from ..postgres.session import Session
from .chunks import Chunk

SCHEMA = "couch2pg_stream"


def prepare(session: Session, plan: Callable[[], list[Chunk]]) -> tuple[list[Chunk], int]:
    """The chunks that are not complete, and the number of complete chunks. plan: makes all chunks when the database has no plan yet."""
    event_triggers.silence(session)
    session.execute("BEGIN")
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    session.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.plan (number int PRIMARY KEY, chunk text NOT NULL)")
    session.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.complete (chunk text PRIMARY KEY, rows bigint, sums text)")
    if not session.value(f"SELECT EXISTS (SELECT FROM {SCHEMA}.plan)"):
        for number, chunk in enumerate(plan()):
            session.execute(f"INSERT INTO {SCHEMA}.plan VALUES (%s, %s)", [number, chunk.as_json()])
    session.execute("COMMIT")
    rows = session.rows(f"SELECT chunk FROM {SCHEMA}.plan ORDER BY number")
    complete = {row["chunk"] for row in session.rows(f"SELECT chunk FROM {SCHEMA}.complete")}
    planned = [Chunk.from_json(row["chunk"]) for row in rows]
    return [chunk for chunk in planned if chunk.key not in complete], len(complete)


def claim(session: Session, chunk: str) -> bool:
    """Mark a chunk as complete, as the first statement of the transaction that loads it. Returns False when it is complete already.

    Waits while another session loads the chunk, for example one that has not noticed yet that its client is gone.
    """
    added = session.rows(
        f"INSERT INTO {SCHEMA}.complete (chunk) VALUES (%s) ON CONFLICT DO NOTHING RETURNING chunk", [chunk]
    )
    return bool(added)


def describe(session: Session, chunk: str, rows: int, sums: list[int]) -> None:
    """Store the number of rows that the source sent, and the sums of their hashes, as the last statement of that transaction."""
    session.execute(
        f"UPDATE {SCHEMA}.complete SET rows = %s, sums = %s WHERE chunk = %s", [rows, json.dumps(sums), chunk]
    )


def contents(session: Session) -> dict[str, tuple[int, list[int]]]:
    """Rows and sums of all complete chunks together, by table."""
    planned = [Chunk.from_json(row["chunk"]) for row in session.rows(f"SELECT chunk FROM {SCHEMA}.plan")]
    table_of = {chunk.key: chunk.table for chunk in planned}
    found: dict[str, tuple[int, list[int]]] = {}
    for row in session.rows(f"SELECT chunk, rows, sums FROM {SCHEMA}.complete"):
        sums = json.loads(row["sums"])
        rows, before = found.get(table_of[row["chunk"]], (0, [0] * len(sums)))
        found[table_of[row["chunk"]]] = rows + row["rows"], [a + b for a, b in zip(before, sums)]
    return found


def rows_of(session: Session, table: str) -> int:
    """The rows of all complete chunks of the table ``schema.name``."""
    start = f"{table}:"
    return int(
        session.value(
            f"SELECT coalesce(pg_catalog.sum(rows), 0) FROM {SCHEMA}.complete WHERE pg_catalog.left(chunk, %s) = %s",
            [len(start), start],
        )
    )


def remove(session: Session) -> None:
    """Remove plan and marks when all rows are loaded: they don't belong to the migrated database."""
    event_triggers.silence(session)
    session.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
