# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive that arrives: in ``<archive>.partial`` until every byte is proven, then under its name.

What is half-done is kept, and gone on with; what belongs to something else is never touched.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ..archive import check as archive_check
from ..archive import manifest
from ..archive.identity import load_own, manifest_sha256
from ..common.errors import MigrationError
from ..common.progress_line import amount
from ..host.files import (
    FILE_MODE,
    check_writable,
    fsync_path,
    fsync_tree,
    make_private_folder,
    nearest_existing,
    remove_tree,
)


def identify(root: Path) -> dict[str, Any]:
    """What tells this very folder from a copy of it: the manifest's number on its file system, and its time."""
    stat = (root / manifest.MANIFEST).stat()
    return {"inode": stat.st_ino, "modified": stat.st_mtime_ns}


def is_inside(path: str) -> bool:
    """Whether a path that the other side names stays inside of the archive."""
    return bool(path) and not path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def partial_folder(final: Path) -> Path:
    """Where an archive is while it arrives."""
    return final.with_name(final.name + ".partial")


def check_place(final: Path, source: dict[str, Any], migration_id: str) -> bool:
    """Whether the archive stands there under its name already. Whatever else does is refused.

    Raises MigrationError ``other_archive``, ``manifest_damaged`` or ``archive_exists``.
    """
    if not os.path.lexists(final):
        return False
    if not (final / manifest.MANIFEST).is_file():
        raise MigrationError(
            f"{final} is not an archive of this migration. Move it away, then run again.",
            "archive_exists",
            path=str(final),
        )
    load_own(final, migration_id, source["manifest_sha256"])
    return True


def prepare(final: Path, source: dict[str, Any], migration_id: str) -> Path:
    """The folder to write into: what an earlier attempt left of the same archive is kept, anything older is removed.

    Raises MigrationError ``archive_exists`` or ``disk_full``.
    """
    partial = partial_folder(final)
    check_writable(final.parent)
    if partial.exists():
        marked = (partial / manifest.HALF_DONE).exists()
        if not marked and manifest_sha256(partial) != source["manifest_sha256"]:
            raise MigrationError(
                f"{partial} was not made by a transfer of this archive. Move it away, then run again.",
                "archive_exists",
                path=str(partial),
            )
        if manifest_sha256(partial) not in ("", source["manifest_sha256"]):
            remove_tree(partial)
    check_room(partial, source, migration_id)
    make_private_folder(partial)
    (partial / manifest.HALF_DONE).touch(mode=FILE_MODE)
    # A manifest that was cut off in the middle is small, and fetched anew.
    if manifest_sha256(partial) != source["manifest_sha256"]:
        (partial / manifest.MANIFEST).unlink(missing_ok=True)
    return partial


def check_room(partial: Path, source: dict[str, Any], migration_id: str) -> None:
    """Raise MigrationError ``disk_full`` unless the rest of the archive fits."""
    present = sum(stat.st_size for _path, stat in manifest.list_files(partial)) if partial.exists() else 0
    needed = max(source["bytes"] - present, 0)
    place = nearest_existing(partial)
    free = shutil.disk_usage(place).free
    if needed > free:
        raise MigrationError(
            f"The rest of the archive of {migration_id} has {amount(needed, 'bytes')}, but only {amount(free, 'bytes')} are free "
            f"in {place}. Make room, or choose another couch2pg_staging_dir, then run again.",
            "disk_full",
            needed=needed,
            free=free,
        )


def load_manifest(partial: Path, source: dict[str, Any]) -> dict[str, Any]:
    """The manifest that has arrived, which must be the one that was seen on the source.

    Raises MigrationError ``other_archive``; ``manifest_missing`` when there is none yet.
    """
    listing = manifest.load(partial)
    if manifest_sha256(partial) != source["manifest_sha256"]:
        raise MigrationError(
            "The archive on the source is not the one any more that this transfer began with. Run again.",
            "other_archive",
        )
    for entry in listing["files"]:
        if not is_inside(entry["path"]):
            raise MigrationError(
                f"The manifest names {entry['path']}, which is outside of the archive. Look at the source.",
                "manifest_damaged",
            )
    return listing


def sizes(partial: Path, listing: dict[str, Any]) -> dict[str, int]:
    """How many bytes of each file are there. What is in the way (too long, or not in the manifest) is removed."""
    wanted = {entry["path"]: entry["bytes"] for entry in listing["files"]}
    there = {}
    for path, stat in list(manifest.list_files(partial)):
        if stat.st_size > wanted.get(path, -1):
            (partial / path).unlink()
        else:
            there[path] = stat.st_size
    return there


def verify(partial: Path, listing: dict[str, Any], workers: int, on_bytes: Any) -> list[str]:
    """Compare with the manifest; files whose content differs are removed, and named. Raises for any other difference."""
    differences = manifest.compare(partial, listing, workers, on_bytes=on_bytes)
    wrong = differences.content
    differences.content = []
    if differences:
        raise MigrationError(
            f"The archive has not arrived whole in {partial}: {differences.sentence()}. Run again: what is there is kept.",
            "archive_differs",
            **differences.as_dict(),
        )
    for path in wrong:
        (partial / path).unlink()
    return wrong


def finish(partial: Path, final: Path, state: Path) -> None:
    """Give a proven archive its name, durably, and remember that it was checked."""
    fsync_tree(partial)
    (partial / manifest.HALF_DONE).unlink()
    partial.rename(final)
    fsync_path(final.parent)
    archive_check.remember(final, state)


def take_back(final: Path) -> Path:
    """An archive that was altered since it arrived is half-done again."""
    partial = partial_folder(final)
    if partial.exists():
        raise MigrationError(
            f"{final} was altered since it arrived, and {partial} stands in the way of mending it. "
            "Move one of them away, then run again.",
            "archive_exists",
        )
    (final / manifest.HALF_DONE).touch(mode=FILE_MODE)
    final.rename(partial)
    return partial
