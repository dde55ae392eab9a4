# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows one pipeline copies at a time: ranges of a table's blocks with about the same number of bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..postgres.connection import Session
from ..postgres.identifiers import quote
from ..postgres.relations import Table

# Small enough to keep every core busy to the end, large enough that a transaction for each costs nothing.
CHUNK_BYTES = 32 * 1024 * 1024
# Before PostgreSQL 14, a condition on ctid reads the whole table.
RANGES_SINCE = 140000

_COLUMNS = """
SELECT a.attrelid::bigint AS table, a.attname AS name
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = ANY(%(oids)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
      AND coalesce(to_jsonb(a) ->> 'attgenerated', '') = ''
ORDER BY a.attrelid, a.attnum
"""


@dataclass(frozen=True)
class Chunk:
    """The rows in the blocks ``first`` up to, not including, ``end`` of a table (None: to its end).

    table: ``schema.name``; sql: the quoted name; columns: quoted names of all columns that are not generated;
    weight: bytes, TOAST included; whole: whether the table is one chunk.
    """

    table: str
    sql: str
    columns: str
    first: int
    end: int | None
    weight: int
    whole: bool

    @property
    def key(self) -> str:
        """Names this chunk among all chunks of a snapshot."""
        return f"{self.table}:{self.first}"

    @property
    def copy_out(self) -> str:
        """The statement for the source."""
        if self.whole:
            return f"COPY {self.sql} ({self.columns}) TO STDOUT"
        where = f"ctid >= '({self.first},0)'::pg_catalog.tid"
        if self.end is not None:
            where += f" AND ctid < '({self.end},0)'::pg_catalog.tid"
        return f"COPY (SELECT {self.columns} FROM ONLY {self.sql} WHERE {where}) TO STDOUT"

    @property
    def copy_in(self) -> str:
        """The statement for the target."""
        return f"COPY {self.sql} ({self.columns}) FROM STDIN"

    def as_dict(self) -> dict[str, Any]:
        """For a worker's standard input."""
        return asdict(self)


def plan(session: Session, tables: list[Table]) -> list[Chunk]:
    """The chunks of ``tables``, those of the largest table first. ``session`` is one of the source."""
    block_size = int(session.value("SELECT pg_catalog.current_setting('block_size')"))
    columns: dict[int, list[str]] = {}
    for row in session.rows(_COLUMNS, {"oids": [table.oid for table in tables]}):  # type: ignore[arg-type]
        columns.setdefault(row["table"], []).append(quote(row["name"]))
    return [
        chunk
        for table in sorted(tables, key=lambda table: -table.table_bytes)
        for chunk in split(table, ", ".join(columns[table.oid]), block_size, session.version)
    ]


def split(table: Table, columns: str, block_size: int, version: int) -> list[Chunk]:
    """The chunks of one table, in the order of its blocks."""
    blocks = table.heap_bytes // block_size
    pieces = max(1, min(-(-table.table_bytes // CHUNK_BYTES), blocks))
    if version < RANGES_SINCE:
        pieces = 1
    bounds = [blocks * number // pieces for number in range(pieces)]
    weights = [table.table_bytes * (n + 1) // pieces - table.table_bytes * n // pieces for n in range(pieces)]
    return [
        # The last chunk has no end: blocks that were added after the size was read may hold visible rows.
        Chunk(table.key, table.sql, columns, first, end, weight, pieces == 1)
        for first, end, weight in zip(bounds, [*bounds[1:], None], weights)
    ]
