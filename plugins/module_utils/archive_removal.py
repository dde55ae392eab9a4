# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing an archive: what its manifest names and nothing else; what is unknown in its folder is left, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import arrival, manifest
from .errors import MigrationError
from .files import remove_tree


def plan(root: Path, migration_id: str) -> dict[str, Any]:
    """What would be removed, read-only: ``files`` with their ``bytes``, what is ``left``, and the ``half_done`` folder.

    Raises MigrationError ``not_ours`` for the archive of another migration, and for what isn't one at all.
    """
    half_done = arrival.partial_folder(root)
    planned: dict[str, Any] = {"files": [], "bytes": 0, "left": [], "half_done": None}
    if _is_half_done(half_done):
        planned["half_done"] = str(half_done)
    if not root.exists():
        return planned
    listing = manifest.load(root)
    if listing.get("migration_id") != migration_id:
        raise MigrationError(
            f"The archive in {root} belongs to the migration {listing.get('migration_id')!r}, not to {migration_id!r}. "
            "Nothing was removed. Check the path.",
            "not_ours",
            path=str(root),
        )
    named = {entry["path"] for entry in listing["files"]}
    there = {path: stat.st_size for path, stat in manifest.list_files(root)}
    planned["files"] = sorted(named & set(there))
    planned["bytes"] = sum(there[path] for path in planned["files"])
    planned["left"] = sorted(set(there) - named)
    return planned


def _is_half_done(folder: Path) -> bool:
    """Whether a dump or a transfer has made it: they mark it before they write into it."""
    return (folder / manifest.HALF_DONE).exists() or (folder / manifest.MANIFEST).exists()


def remove(root: Path, planned: dict[str, Any]) -> None:
    """Remove it. The manifest goes last, so that a removal that was interrupted can be gone on with."""
    if planned["half_done"] is not None:
        remove_tree(Path(planned["half_done"]))
    if not root.exists():
        return
    for path in planned["files"]:
        (root / path).unlink()
    folders = {parent for path in planned["files"] for parent in (root / path).parents if root in parent.parents}
    for folder in sorted(folders, key=lambda each: -len(each.parts)):
        if not any(folder.iterdir()):
            folder.rmdir()
    own = {root / manifest.MANIFEST, root / manifest.HALF_DONE}
    if set(root.iterdir()) <= own:
        for path in own:
            path.unlink(missing_ok=True)
        root.rmdir()
