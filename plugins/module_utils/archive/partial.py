# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of an archive while it is written on this host."""

from __future__ import annotations

from pathlib import Path

from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..host.files import make_private_folder, moving_away, remove_tree, write_json, write_text
from . import layout, manifest


def start_empty(partial: Path, name: str = "") -> str:
    """Make the empty folder ``partial``; what an earlier attempt has left there is removed, and nothing else.

    name: of this attempt's snapshot, which the marker keeps. Returns the name that the earlier attempt kept, or "".
    Raises MigrationError ``archive_exists`` for a folder that this collection did not make.
    """
    make_private_folder(partial.parent)
    marker = partial / layout.HALF_DONE
    # An attempt that was killed between its manifest and the rename has no marker any more.
    if partial.exists() and not marker.exists() and not (partial / layout.MANIFEST).exists():
        raise MigrationError(
            f"{partial} was not made by this collection. {moving_away(partial)}",
            "archive_exists",
            path=str(partial),
        )
    before = marker.read_text(encoding="utf-8") if marker.exists() else ""
    remove_tree(partial)
    make_private_folder(partial)
    write_text(marker, name)
    return before


def finish(partial: Path, document: Evidence, workers: int) -> None:
    """Write the manifest, which makes the folder an archive for verify; also where a killed attempt has removed the marker."""
    listing = manifest.create(partial, workers)
    manifest.add_origin(listing, document)
    write_json(partial / layout.MANIFEST, listing)
    (partial / layout.HALF_DONE).unlink(missing_ok=True)
