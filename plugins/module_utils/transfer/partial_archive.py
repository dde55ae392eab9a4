# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive that is being transferred: ``<archive>.partial`` until every file is verified, then renamed.

An incomplete archive of the same transfer is kept and resumed; other folders are never changed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Callable, TypedDict

from ..archive import check as archive_check
from ..archive import layout, manifest
from ..archive import partial as half_done
from ..archive.identity import load_own, manifest_sha256
from ..common.errors import MigrationError
from ..common.progress_line import amount
from ..host.files import (
    FILE_MODE,
    check_writable,
    fsync_path,
    fsync_tree,
    moving_away,
    nearest_existing,
)


class ArchiveIdentity(TypedDict):
    """Inode and modification time (ns) of an archive's manifest."""

    inode: int
    modified: int


class SourceArchive(TypedDict, total=False):
    """The source's archive and how it is served. While there is no archive, only the last three keys exist.

    archive: its folder; manifest_bytes: size of the manifest; bytes, files: of the archive.
    compressible: whether its files are uncompressed. user: serves the archive; rsync: path of rsync, empty if missing.
    obstacles: reasons why sshd may refuse the key.
    """

    archive: str
    manifest_sha256: str
    manifest_bytes: int
    identity: ArchiveIdentity
    bytes: int
    files: int
    compressible: bool
    user: str
    rsync: str
    obstacles: list[str]


def identify(root: Path) -> ArchiveIdentity:
    """What distinguishes this folder from a copy of it: inode and modification time of the manifest."""
    stat = (root / layout.MANIFEST).stat()
    return {"inode": stat.st_ino, "modified": stat.st_mtime_ns}


def is_inside(path: str) -> bool:
    """Whether a relative path from the other host stays inside the archive."""
    return bool(path) and not path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def check_place(final: Path, source: SourceArchive, migration_id: str) -> bool:
    """Whether the archive already exists under its final name. Anything else there is refused.

    Raises MigrationError ``other_archive``, ``manifest_damaged`` or ``archive_exists``.
    """
    if not os.path.lexists(final):
        return False
    if not (final / layout.MANIFEST).is_file():
        raise MigrationError(
            f"{final} is not an archive of this migration. {moving_away(final)}",
            "archive_exists",
            path=str(final),
        )
    load_own(final, migration_id, source["manifest_sha256"])
    return True


def prepare(final: Path, source: SourceArchive, migration_id: str) -> Path:
    """Create the partial folder, or keep it if it belongs to the same archive; an older archive's is removed.

    Raises MigrationError ``archive_exists`` or ``disk_full``.
    """
    partial = layout.partial_folder(final)
    check_writable(final.parent)
    if partial.exists():
        marked = (partial / layout.HALF_DONE).exists()
        # The manifest of another archive shows that another migration, or a person, made the folder.
        foreign = (partial / layout.MANIFEST).exists() or not half_done.is_ours(partial)
        if not marked and foreign and manifest_sha256(partial) != source["manifest_sha256"]:
            raise MigrationError(
                f"{partial} was not made by a transfer of this archive. {moving_away(partial)}",
                "archive_exists",
                path=str(partial),
            )
        if manifest_sha256(partial) not in ("", source["manifest_sha256"]):
            half_done.clear(partial)
    check_room(partial, source, migration_id)
    half_done.mark(partial)
    # An incomplete manifest is fetched again: it is small.
    if manifest_sha256(partial) != source["manifest_sha256"]:
        (partial / layout.MANIFEST).unlink(missing_ok=True)
    return partial


def check_room(partial: Path, source: SourceArchive, migration_id: str) -> None:
    """Raise MigrationError ``disk_full`` unless there is enough free space for the rest of the archive."""
    present = sum(stat.st_size for _path, stat in manifest.list_files(partial)) if partial.exists() else 0
    needed = max(source["bytes"] - present, 0)
    place = nearest_existing(partial)
    free = shutil.disk_usage(place).free
    if needed > free:
        raise MigrationError(
            f"The rest of the archive of {migration_id} needs {amount(needed, 'bytes')}, but only {amount(free, 'bytes')} are free "
            f"in {place}. Free disk space, or choose another couch2pg_staging_dir, then run again.",
            "disk_full",
            needed=needed,
            free=free,
        )


def load_manifest(partial: Path, source: SourceArchive) -> manifest.Manifest:
    """The transferred manifest, checked to be the source's.

    Raises MigrationError ``other_archive``, ``manifest_damaged``, or ``manifest_missing`` when it wasn't transferred yet.
    """
    listing = manifest.load(partial)
    if manifest_sha256(partial) != source["manifest_sha256"]:
        raise MigrationError(
            "The archive on the source was replaced during this transfer. Run again.",
            "other_archive",
        )
    for entry in listing["files"]:
        if not is_inside(entry["path"]):
            raise MigrationError(
                f"The manifest contains the path {entry['path']}, which is outside of the archive. Check the source for manipulation.",
                "manifest_damaged",
            )
    return listing


def sizes(partial: Path, listing: manifest.Manifest) -> dict[str, int]:
    """Bytes of each file that has arrived. Files that are too long or not in the manifest are removed."""
    wanted = {entry["path"]: entry["bytes"] for entry in listing["files"]}
    there = {}
    for path, stat in list(manifest.list_files(partial)):
        if stat.st_size > wanted.get(path, -1):
            (partial / path).unlink()
        else:
            there[path] = stat.st_size
    return there


def verify(partial: Path, listing: manifest.Manifest, workers: int, on_bytes: Callable[[int, str], None]) -> list[str]:
    """Compare with the manifest; removes files whose content differs and returns their paths.

    Raises MigrationError ``archive_differs`` for any other difference.
    """
    differences = manifest.compare(partial, listing, workers, on_bytes=on_bytes)
    wrong = differences.content
    differences.content = []
    if differences:
        raise MigrationError(
            f"The archive in {partial} is incomplete: {differences.sentence()}. Run again: the transfer resumes.",
            "archive_differs",
            **differences.as_dict(),
        )
    for path in wrong:
        (partial / path).unlink()
    return wrong


def finish(partial: Path, final: Path, state: Path) -> None:
    """Rename a verified archive to its final name, durably, and record that it was checked."""
    fsync_tree(partial)
    (partial / layout.HALF_DONE).unlink()
    partial.rename(final)
    fsync_path(final.parent)
    archive_check.remember(final, state)


def reopen(final: Path) -> Path:
    """Rename an archive that was altered after its transfer back to partial, so that the transfer can repair it."""
    partial = layout.partial_folder(final)
    complete = (partial / layout.MANIFEST).exists() and not (partial / layout.HALF_DONE).exists()
    if half_done.is_ours(partial) and not complete:
        # An interrupted transfer left this folder. The archive under the final name was copied later, in another way.
        half_done.discard(partial)
    if partial.exists():
        raise MigrationError(
            f"{final} differs from the source's archive, and it can't be repaired because {partial} exists. Move {partial} away, then "
            "run again.",
            "archive_exists",
        )
    (final / layout.HALF_DONE).touch(mode=FILE_MODE)
    final.rename(partial)
    return partial
