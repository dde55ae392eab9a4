# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Estimate the size of an archive from a sample of rows, written by COPY and compressed with zlib.

A table's size on disk is a poor estimate: TOAST has compressed long documents already, and their text is larger.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import Callable, TypedDict

from ..common.errors import MigrationError
from ..postgres.identifiers import quote
from ..postgres.relations import Table
from ..postgres.session import Session

SAMPLE_BYTES = 4 * 1024 * 1024
SAMPLE_BLOCKS = 8
SAMPLE_SECONDS = 5
ALL_SECONDS = 15.0
TABLES_SAMPLED = 12
COMPRESSED_AT_MOST = 32 * 1024 * 1024
# About the row size above which PostgreSQL uses TOAST.
WIDE = 2000
# Bytes of text, plain and compressed, for each byte on disk of tables that can't be sampled: deliberately high.
UNKNOWN_TEXT = 3.0
UNKNOWN_COMPRESSED = 1.0
# Archive size relative to gzip:1, which compresses the sample; only lz4 compresses less than gzip:1.
FACTORS = {"lz4": 1.8}

_COLUMNS = """
SELECT attname AS name FROM pg_catalog.pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
"""


class ArchiveEstimate(TypedDict):
    """Estimated bytes of all rows as text, of the largest table's text, of all rows compressed; bytes sampled; seconds used."""

    text_bytes: int
    largest_text_bytes: int
    compressed_bytes: int
    sampled_bytes: int
    seconds: float


@dataclass(frozen=True)
class Sample:
    """Estimated bytes of a table's rows as text and compressed, from ``sampled`` bytes of text."""

    text: int
    compressed: int
    sampled: int


class _Meter:
    """Counts the bytes of COPY's output, plain and compressed."""

    def __init__(self) -> None:
        self.text = 0
        self._packed = 0
        self._fed = 0
        self._packer = zlib.compressobj(1)

    def write(self, data: bytes) -> None:
        self.text += len(data)
        if self._fed < COMPRESSED_AT_MOST:
            self._fed += len(data)
            self._packed += len(self._packer.compress(data))

    def compressed(self) -> int:
        self._packed += len(self._packer.flush())
        return self._packed * self.text // max(self._fed, 1)


def measure(session: Session, tables: list[Table], clock: Callable[[], float] = time.monotonic) -> ArchiveEstimate:
    """Sample the largest of ``tables``, which are sorted by size, for about ALL_SECONDS at most."""
    started = clock()
    block_size = int(session.value("SELECT pg_catalog.current_setting('block_size')"))
    samples: dict[str, Sample] = {}
    for table in tables[:TABLES_SAMPLED]:
        if clock() - started > ALL_SECONDS:
            break
        sample = _sample(session, table, table.heap_bytes // block_size)
        if sample is not None:
            samples[table.key] = sample
    return estimate(tables, samples, round(clock() - started, 1))


def estimate(tables: list[Table], samples: dict[str, Sample], seconds: float = 0.0) -> ArchiveEstimate:
    """Extrapolate to all tables; a table without a sample gets the average ratio of the others."""
    texts: dict[str, float] = {key: sample.text for key, sample in samples.items()}
    packed: dict[str, float] = {key: sample.compressed for key, sample in samples.items()}
    measured = sum(table.table_bytes for table in tables if table.key in samples)
    text_ratio = sum(texts.values()) / measured if measured else UNKNOWN_TEXT
    packed_ratio = sum(packed.values()) / measured if measured else UNKNOWN_COMPRESSED
    for table in tables:
        texts.setdefault(table.key, table.table_bytes * text_ratio)
        packed.setdefault(table.key, table.table_bytes * packed_ratio)
    return {
        "text_bytes": int(sum(texts.values())),
        "largest_text_bytes": int(max(texts.values(), default=0)),
        "compressed_bytes": int(sum(packed.values())),
        "sampled_bytes": sum(sample.sampled for sample in samples.values()),
        "seconds": seconds,
    }


def archive_bytes(found: ArchiveEstimate, archive_format: str, compression: str) -> int:
    """The size of an archive in bytes. A tar is always compressed."""
    if compression == "none" and archive_format != "tar":
        return found["text_bytes"]
    factor = FACTORS.get(compression.split(":", maxsplit=1)[0], 1.0)
    return int(found["compressed_bytes"] * factor)


def _sample(session: Session, table: Table, blocks: int) -> Sample | None:
    """Sample some blocks of the table; None when it is empty, not readable, or too slow."""
    if not blocks or not table.readable:
        return None
    percent = min(100.0, 100.0 * max(SAMPLE_BYTES / table.table_bytes, SAMPLE_BLOCKS / blocks))
    columns = session.rows(_COLUMNS, [table.oid])
    stored = " + ".join(f"coalesce(pg_catalog.pg_column_size({quote(row['name'])}), 0)" for row in columns) or "0"
    # With the same seed, all queries sample the same blocks.
    rows = f"FROM ONLY {table.sql} TABLESAMPLE SYSTEM ({percent:.6f}) REPEATABLE (1)"
    session.execute(f"SET statement_timeout = '{SAMPLE_SECONDS}s'")
    try:
        seen = session.row(
            "SELECT pg_catalog.count(DISTINCT block) AS blocks, "
            f"coalesce(pg_catalog.sum(stored) FILTER (WHERE stored > {WIDE}), 0)::pg_catalog.int8 AS wide_bytes "
            f"FROM (SELECT (ctid::text::pg_catalog.point)[0] AS block, {stored} AS stored {rows}) AS sampled"
        )
        narrow, wide = _Meter(), _Meter()
        session.copy_out(f"COPY (SELECT * {rows} WHERE {stored} <= {WIDE}) TO STDOUT", narrow.write)
        session.copy_out(f"COPY (SELECT * {rows} WHERE {stored} > {WIDE}) TO STDOUT", wide.write)
    except MigrationError as error:
        if error.code != "sql":
            raise
        return None
    finally:
        session.execute("SET statement_timeout = 0")
    if not seen["blocks"]:
        return None
    return scale(
        table,
        seen["blocks"] / blocks,
        (narrow.text, narrow.compressed()),
        seen["wide_bytes"],
        (wide.text, wide.compressed()),
    )


def scale(table: Table, fraction: float, narrow: tuple[int, int], wide_bytes: int, wide: tuple[int, int]) -> Sample:
    """Extrapolate from the rows in ``fraction`` of the blocks to the whole table.

    Narrow rows are similar, so they scale with the blocks. Wide rows are few and can be thousands of times larger, so a
    single one would distort the result: they only give the ratio of text to bytes in TOAST.
    """
    toast = table.table_bytes - table.heap_bytes
    if wide_bytes:
        wide_text, wide_packed = wide[0] / wide_bytes * toast, wide[1] / wide_bytes * toast
    else:
        wide_text, wide_packed = UNKNOWN_TEXT * toast, UNKNOWN_COMPRESSED * toast
    return Sample(
        text=int(narrow[0] / fraction + wide_text),
        compressed=int(narrow[1] / fraction + wide_packed),
        sampled=narrow[0] + wide[0],
    )
