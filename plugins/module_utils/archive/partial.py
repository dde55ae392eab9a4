# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of an incomplete archive. A later run recognises it, no matter when this run is killed.

A marker is written into the folder first and removed last.
"""

from __future__ import annotations

from pathlib import Path

from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..host.files import (
    is_unfinished,
    make_private_folder,
    moving_away,
    remove_tree,
    remove_unfinished,
    write_json,
    write_text,
)
from . import layout, manifest


def is_ours(folder: Path) -> bool:
    """Whether this collection made ``folder``: it has the marker or a manifest, or nothing that could be lost."""
    if any((folder / name).is_file() for name in (layout.HALF_DONE, layout.MANIFEST)):
        return True
    # A run that is killed before the marker has its name leaves an empty folder, or the marker's temporary file.
    return folder.is_dir() and all(is_unfinished(path.name, layout.HALF_DONE) for path in folder.iterdir())


def mark(folder: Path, text: str = "") -> None:
    """Make ``folder`` where it is missing, and write the marker with ``text`` into it."""
    make_private_folder(folder)
    write_text(folder / layout.HALF_DONE, text)


def clear(folder: Path) -> None:
    """Remove everything in ``folder`` but the marker."""
    marker = folder / layout.HALF_DONE
    if not marker.exists():
        mark(folder)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        elif path != marker:
            path.unlink()


def discard(folder: Path) -> None:
    """Remove ``folder``, if it exists. A run that is killed in between leaves a folder that the next run can remove."""
    if folder.exists():
        clear(folder)
        (folder / layout.HALF_DONE).unlink()
        folder.rmdir()


def take_back(final: Path) -> None:
    """Give the finished folder ``final`` the name of an incomplete one, whose content the next attempt replaces.

    Raises MigrationError ``archive_exists`` for an incomplete folder that this collection did not make.
    """
    partial = layout.partial_folder(final)
    _refuse_foreign(partial)
    discard(partial)
    final.rename(partial)


def start_empty(partial: Path, name: str = "") -> str:
    """Make the empty folder ``partial``. What an earlier attempt has left in it is removed.

    name: of this attempt's snapshot, stored in the marker. Returns the name that the earlier attempt stored, or "".
    Raises MigrationError ``archive_exists`` for a folder that this collection did not make.
    """
    make_private_folder(partial.parent)
    marker = partial / layout.HALF_DONE
    _refuse_foreign(partial)
    before = marker.read_text(encoding="utf-8") if marker.exists() else ""
    if partial.exists():
        clear(partial)
    mark(partial, name)
    return before


def finish(partial: Path, document: Evidence, workers: int) -> None:
    """Write the manifest, without which verify doesn't accept the archive. A killed attempt may have removed the marker already."""
    remove_unfinished(partial / layout.EVIDENCE)
    listing = manifest.create(partial, workers)
    manifest.add_origin(listing, document)
    write_json(partial / layout.MANIFEST, listing)
    (partial / layout.HALF_DONE).unlink(missing_ok=True)


def _refuse_foreign(partial: Path) -> None:
    if partial.exists() and not is_ours(partial):
        raise MigrationError(
            f"{partial} was not made by this collection. {moving_away(partial)}",
            "archive_exists",
            path=str(partial),
        )
