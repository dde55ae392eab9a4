# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of the source's database, and the disk space that a host needs. Apart, so that disk_space_info ships little code."""

from __future__ import annotations

from typing import TypedDict

from ..archive.size import ArchiveEstimate


class Sizes(TypedDict, total=False):
    """Sizes of the source's database in bytes.

    server: all databases that may be measured; relations, table_count: numbers; largest_indexes: the 16 largest, descending;
    tablespaces: by name; machine: ``host.file_systems.machine``.
    """

    database: int
    server: int
    matviews: int
    largest_matview: int
    relations: int
    large_objects: int
    tables: int
    table_count: int
    indexes: int
    largest_indexes: list[int]
    tablespaces: dict[str, int]
    archive: ArchiveEstimate
    machine: str


class NeedDocument(TypedDict):
    """A ``disk_plan.Need`` as JSON."""

    path: str
    use: str
    bytes: int
    files: int
    present: int
