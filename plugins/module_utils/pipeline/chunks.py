# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows one pipeline copies at a time: ranges of a table's blocks with about the same number of bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Mapping

from ..evidence import digest
from ..postgres.identifiers import quote
from ..postgres.relations import Table
from ..postgres.session import Session

# Small enough to keep every core busy to the end, large enough that the cost of a transaction for each chunk doesn't matter.
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
    """A range of a table's blocks, with the statements that copy its rows.

    table: ``schema.name``; number: of the chunk in its table, from 0; query: selects the rows, and adds up their digests while they
    are sent; copy_in: the statement for the target; method: of the digest; weight: bytes, TOAST included.
    """

    table: str
    number: int
    query: str
    copy_in: str
    method: str
    weight: int

    @property
    def key(self) -> str:
        """Identifies this chunk among all chunks of a snapshot."""
        return f"{self.table}:{self.number}"

    @property
    def copy_out(self) -> str:
        """The statement for the source."""
        return f"COPY ({self.query}) TO STDOUT"

    def as_json(self) -> str:
        """The chunk for a worker's standard input, and for the plan in the target's database."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Chunk:
        """The chunk that ``as_json`` returned as this text."""
        return cls(**json.loads(text))


def plan(session: Session, tables: list[Table], recipes: Mapping[str, digest.Recipe]) -> list[Chunk]:
    """The chunks of ``tables``, those of the largest table first. session: a session of the source.

    recipes: how the rows of each table are hashed (``digest.recipes``).
    """
    block_size = int(session.value("SELECT pg_catalog.current_setting('block_size')"))
    columns: dict[int, list[str]] = {}
    for row in session.rows(_COLUMNS, {"oids": [table.oid for table in tables]}):  # type: ignore[arg-type]
        columns.setdefault(row["table"], []).append(row["name"])
    return [
        chunk
        for table in sorted(tables, key=lambda table: -table.table_bytes)
        for chunk in split(table, columns[table.oid], recipes[table.key], block_size, session.version)
    ]


def split(table: Table, columns: list[str], recipe: digest.Recipe, block_size: int, version: int) -> list[Chunk]:
    """The chunks of one table, in the order of its blocks. columns: names of all columns that are not generated."""
    blocks = table.heap_bytes // block_size
    pieces = max(1, min(-(-table.table_bytes // CHUNK_BYTES), blocks))
    if version < RANGES_SINCE:
        pieces = 1
    bounds = [blocks * number // pieces for number in range(pieces)]
    weights = [table.table_bytes * (n + 1) // pieces - table.table_bytes * n // pieces for n in range(pieces)]
    copy_in = f"COPY {table.sql} ({', '.join(map(quote, columns))}) FROM STDIN"
    found = []
    # The last chunk has no end: blocks that were added after the size was read may hold visible rows.
    for number, (first, end) in enumerate(zip(bounds, [*bounds[1:], None])):
        source = f"FROM ONLY {table.sql}"
        if pieces > 1:
            source += f" WHERE ctid >= '({first},0)'::pg_catalog.tid"
        if end is not None:
            source += f" AND ctid < '({end},0)'::pg_catalog.tid"
        query = digest.copy_out(recipe, columns, source)
        found.append(Chunk(table.key, number, query, copy_in, recipe.method, weights[number]))
    return found
