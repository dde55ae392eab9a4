# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Estimate the progress of a dump from the size of the archive, for servers before PostgreSQL 14, which don't report it."""

from __future__ import annotations

from pathlib import Path

from ..postgres.connection import ConnectionSettings
from ..postgres.relations import Table
from ..postgres.server_progress import LARGEST_SHARE, CopyProgress
from ..postgres.session import Session
from . import manifest
from . import size as archive_size


class ArchiveGrowth:
    """A progress probe: estimates the bytes read from the bytes written.

    partial: the folder of the growing archive; copied: the probe of the tables that are done.
    total: bytes of all tables; expected: estimated bytes of the finished archive.
    """

    def __init__(self, partial: Path, copied: CopyProgress, total: int, expected: int) -> None:
        self._partial = partial
        self._copied = copied
        self._total = total
        self._expected = max(expected, 1)

    def __call__(self) -> tuple[int, str]:
        done, item = self._copied()
        written = sum(stat.st_size for _path, stat in manifest.list_files(self._partial))
        share = min(written / self._expected, LARGEST_SHARE)
        return max(done, int(self._total * share)), item


def expected_bytes(settings: ConnectionSettings, tables: list[Table], archive_format: str, compression: str) -> int:
    """Estimate the size of an archive of ``tables`` in bytes; takes some seconds."""
    with Session(settings) as session:
        estimate = archive_size.measure(session, tables)
    return archive_size.archive_bytes(estimate, archive_format, compression)
