# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The removal of what a migration leaves on a host: file by file, each one known by name; never by pattern, never as a tree.

Whatever is not known stays, and is listed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterator

from ..archive import layout, manifest
from ..common.errors import MigrationError
from ..host.files import read_json
from ..jobs import job, limits
from ..jobs import runner as job_runner
from ..transfer import partial_archive

# What a job leaves in its folder; its own copy of the code and its working folder hold nothing but its own.
_OF_A_JOB = ("spec.json", "progress.json", "result.json", "log", "lock", "start.lock", limits.FILE, job_runner.RESERVE)
_FOLDERS_OF_A_JOB = ("code", "work")


def plan(
    archive: Path | None,
    migration_id: str,
    manifest_sha256: str | None,
    state_dir: str,
    *,
    half_done: bool = False,
    jobs: bool = True,
    damaged: bool = False,
) -> dict[str, Any]:
    """What would be removed: ``files``, and the ``folders`` that are then empty; and what is ``left``.

    ``manifest_sha256`` of None stands for every archive of this migration. With ``half_done`` the one beside it goes, too, that a dump
    or a transfer of ours has marked; without ``jobs`` their folders stay;
    with ``damaged``, files of the archive go whatever their size is.

    Raises MigrationError ``job_running`` or ``other_archive``.
    """
    folders = job.job_folders(state_dir, migration_id)
    running = [folder.name for folder in folders if job.read_state(folder).status == "running"]
    if running:
        raise MigrationError(
            f"Jobs of this migration run on this host: {', '.join(running)}. Nothing was removed. Wait for their end, or stop them "
            "(cht.couch2pg.cancel), then run again.",
            "job_running",
            jobs=running,
        )
    planned: dict[str, Any] = {"files": [], "folders": [], "left": []}
    if archive is not None and archive.is_dir() and not archive.is_symlink():
        _plan_archive(planned, archive, migration_id, manifest_sha256, damaged)
    if archive is not None and half_done:
        _plan_half_done(planned, layout.partial_folder(archive))
    for folder in folders if jobs else []:
        if folder.is_symlink() or not folder.is_dir():
            planned["left"].append(folder)
        else:
            _plan_job(planned, folder)
    if folders and jobs:
        planned["folders"].append(folders[0].parent)
    planned["folders"] = _emptied(planned)
    return planned


def foreseen(planned: dict[str, Any]) -> dict[str, Any]:
    """What ``remove`` would return."""
    return {
        "files": len(planned["files"]),
        "bytes": sum(path.lstat().st_size for path in planned["files"]),
        "left": [str(path) for path in planned["left"]],
    }


def remove(planned: dict[str, Any]) -> dict[str, Any]:
    """Remove what was planned, the manifest last; returns files, bytes, and what is left."""
    result = foreseen(planned)
    for path in planned["files"]:
        path.unlink()
    for folder in planned["folders"]:
        folder.rmdir()
    return result


def _plan_archive(
    planned: dict[str, Any], root: Path, migration_id: str, manifest_sha256: str | None, damaged: bool
) -> None:
    path = root / layout.MANIFEST
    if not path.is_file():
        # An interrupted removal leaves nothing but folders; everything else is somebody's.
        planned["left"] += list(_files(root))
        planned["folders"] += _folders(root)
        return
    listing = manifest.load(root)
    if listing.get("migration_id") != migration_id or manifest_sha256 not in (None, manifest.sha256(path)):
        raise MigrationError(
            f"The archive in {root} is not the one that this migration has made: its manifest is another one. Nothing was removed. Look at "
            "what it is, and remove it by hand if nobody needs it.",
            "other_archive",
            path=str(root),
        )
    known = {
        root / entry["path"]: entry["bytes"] for entry in listing["files"] if partial_archive.is_inside(entry["path"])
    }
    known[root / layout.HALF_DONE] = 0
    found = [found for found in _files(root) if found != path]
    files = [
        found
        for found in found
        if not found.is_symlink() and found in known and (damaged or found.lstat().st_size == known[found])
    ]
    planned["left"] += sorted(set(found) - set(files))
    # The manifest goes last: an interrupted removal goes on by it.
    planned["files"] += [*files, path]
    planned["folders"] += _folders(root)


def _plan_half_done(planned: dict[str, Any], root: Path) -> None:
    """All of it, if it was marked before anything was written into it: what a dump writes bears no names that are known before."""
    marks = [root / name for name in (layout.HALF_DONE, layout.MANIFEST) if (root / name).is_file()]
    if marks and not root.is_symlink():
        # By a mark an interrupted removal goes on.
        planned["files"] += [*(path for path in _files(root) if path not in marks), *marks]
        planned["folders"] += _folders(root)


def _plan_job(planned: dict[str, Any], folder: Path) -> None:
    if read_json(folder / "spec.json") is None:
        planned["left"] += list(_files(folder))
        planned["folders"] += _folders(folder)
        return
    for path in _files(folder):
        top = path.relative_to(folder).parts[0]
        ours = path.name in _OF_A_JOB and path.parent == folder
        planned["files" if ours or top in _FOLDERS_OF_A_JOB else "left"].append(path)
    planned["folders"] += _folders(folder)


def _emptied(planned: dict[str, Any]) -> list[Path]:
    """Those of the folders, the deepest first, that hold nothing but what is removed."""
    gone = set(planned["files"])
    emptied = []
    for folder in planned["folders"]:
        if all(path in gone for path in folder.iterdir()):
            gone.add(folder)
            emptied.append(folder)
    return emptied


def _files(root: Path) -> Iterator[Path]:
    """Everything below ``root`` but real folders; links are not followed."""
    for folder, subfolders, names in os.walk(root):
        for name in sorted([*names, *(sub for sub in subfolders if Path(folder, sub).is_symlink())]):
            yield Path(folder, name)


def _folders(root: Path) -> list[Path]:
    """``root`` and the real folders below it, the deepest first."""
    return [Path(folder) for folder, _subfolders, _names in os.walk(root, topdown=False)]
