# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How large an archive will be, from a sample of the data: real rows as COPY writes them, compressed by zlib.

A table's size on the disk says little: TOAST compresses long documents already, and their text is larger.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import asdict, dataclass
from typing import Any, Callable

from .connection import Session
from .errors import MigrationError
from .relations import Table

SAMPLE_BYTES = 4 * 1024 * 1024
SAMPLE_BLOCKS = 8
SAMPLE_SECONDS = 5
ALL_SECONDS = 15.0
TABLES_SAMPLED = 12
COMPRESSED_AT_MOST = 32 * 1024 * 1024
# For what could not be sampled: on the safe side.
UNKNOWN_TEXT = 3.0
UNKNOWN_COMPRESSED = 1.0
# The sample is compressed as gzip:1 does it, which is no better than any other method but lz4.
FACTORS = {"lz4": 1.8}


@dataclass(frozen=True)
class ArchiveEstimate:
    """Bytes of all rows as text, of the largest table's text, of all compressed; and how much was looked at."""

    text_bytes: int
    largest_text_bytes: int
    compressed_bytes: int
    sampled_bytes: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For facts and results."""
        return asdict(self)


@dataclass(frozen=True)
class Sample:
    """Text and compressed text of a part of a table, ``fraction`` of its blocks."""

    fraction: float
    text: int
    compressed: int


class _Meter:
    """Takes the output of COPY: counts it, and what is left of it when it is compressed."""

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
    """Sample the largest ``tables`` (which come largest first), for some seconds at most."""
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
    """From samples to whole tables; a table without one is taken for the average of the others."""
    known = [table for table in tables if table.key in samples]
    texts = {table.key: samples[table.key].text / samples[table.key].fraction for table in known}
    packed = {table.key: samples[table.key].compressed / samples[table.key].fraction for table in known}
    measured = sum(table.table_bytes for table in known)
    text_ratio = sum(texts.values()) / measured if measured else UNKNOWN_TEXT
    packed_ratio = sum(packed.values()) / measured if measured else UNKNOWN_COMPRESSED
    for table in tables:
        texts.setdefault(table.key, table.table_bytes * text_ratio)
        packed.setdefault(table.key, table.table_bytes * packed_ratio)
    return ArchiveEstimate(
        text_bytes=int(sum(texts.values())),
        largest_text_bytes=int(max(texts.values(), default=0)),
        compressed_bytes=int(sum(packed.values())),
        sampled_bytes=sum(sample.text for sample in samples.values()),
        seconds=seconds,
    )


def archive_bytes(found: dict[str, Any], archive_format: str, compression: str) -> int:
    """Bytes of an archive, given ``ArchiveEstimate.as_dict()``; a tar is compressed when it is finished."""
    if compression == "none" and archive_format != "tar":
        return int(found["text_bytes"])
    factor = FACTORS.get(compression.split(":", maxsplit=1)[0], 1.0)
    return int(found["compressed_bytes"] * factor)


def _sample(session: Session, table: Table, blocks: int) -> Sample | None:
    """Some blocks of the table; None when it has none, may not be read, or takes too long."""
    if not blocks or not table.readable:
        return None
    percent = min(100.0, 100.0 * max(SAMPLE_BYTES / table.table_bytes, SAMPLE_BLOCKS / blocks))
    # The same seed chooses the same blocks both times.
    source = f"FROM ONLY {table.sql} TABLESAMPLE SYSTEM ({percent:.6f}) REPEATABLE (1)"
    meter = _Meter()
    session.execute(f"SET statement_timeout = '{SAMPLE_SECONDS}s'")
    try:
        seen = session.value(f"SELECT pg_catalog.count(DISTINCT (ctid::text::pg_catalog.point)[0]) {source}")
        session.copy_out(f"COPY (SELECT * {source}) TO STDOUT", meter.write)
    except MigrationError as error:
        if error.code != "sql":
            raise
        return None
    finally:
        session.execute("SET statement_timeout = 0")
    return Sample(min(1.0, seen / blocks), meter.text, meter.compressed()) if seen else None
