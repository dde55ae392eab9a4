# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and paths of an archive.

An archive is a folder::

    <staging_dir>/<migration_id>/
        archive/ (or archive.dump, archive.tar.gz)   the output of pg_dump
        evidence.json                                the evidence of its snapshot
        manifest.json                                size and SHA-256 of every other file

While it is incomplete, the folder is named ``<migration_id>.partial`` and contains the marker ``.half-done``. On the target,
``<migration_id>.early`` contains files of an archive that were transferred while the archive was still being written.
"""

from __future__ import annotations

from pathlib import Path

from ..host.files import expand

MANIFEST = "manifest.json"
EVIDENCE = "evidence.json"
HALF_DONE = ".half-done"
PARTIAL_SUFFIX = ".partial"
EARLY_SUFFIX = ".early"
# The output of pg_dump in each format.
DUMP_NAMES = {"directory": "archive", "custom": "archive.dump", "tar": "archive.tar.gz"}


def archive_folder(staging_dir: str, migration_id: str) -> Path:
    """The folder of a migration's finished archive."""
    return expand(staging_dir) / migration_id


def partial_folder(final: Path) -> Path:
    """The folder of an archive while it is incomplete; ``final``: its folder once it is finished."""
    return final.with_name(final.name + PARTIAL_SUFFIX)


def early_folder(final: Path) -> Path:
    """The folder for files that are transferred before the archive is finished; ``final``: the archive's folder once it is transferred."""
    return final.with_name(final.name + EARLY_SUFFIX)
