# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove a migration's archive and job folders, file by file and only files known by name.

Other files are kept and listed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterator

from ..archive import layout, manifest
from ..common.errors import MigrationError
from ..host.files import expand, read_json
from ..jobs import job, limits
from ..jobs import runner as job_runner
from ..transfer import partial_archive
from .leftovers import CREDENTIAL_FILES

# The files in a job's folder. The folders contain only files of the job.
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
    """Plan the removal: ``files``, ``folders`` that are empty afterwards, and ``left``, the paths that are kept.

    manifest_sha256: of the archive to remove; None for any archive of this migration.
    half_done: also remove the incomplete archive of a dump or transfer beside it.
    jobs: also remove the job folders. Captured settings, which contain credentials, are always removed.
    damaged: also remove files whose size isn't as in the manifest.

    Raises MigrationError ``job_running`` or ``other_archive``.
    """
    folders = job.job_folders(state_dir, migration_id)
    running = [folder.name for folder in folders if job.read_state(folder).status == "running"]
    if running:
        raise MigrationError(
            f"Jobs of this migration are running on this host: {', '.join(running)}. Nothing was removed. Wait until they end, or "
            f"stop them (ansible-playbook cht.couch2pg.cancel -i inventory -e couch2pg_migration_id={migration_id}), then run again.",
            "job_running",
            jobs=running,
        )
    planned: dict[str, Any] = {"files": [], "folders": [], "left": []}
    if archive is not None and archive.is_dir() and not archive.is_symlink():
        _plan_archive(planned, archive, migration_id, manifest_sha256, damaged)
    if archive is not None and half_done:
        _plan_half_done(planned, layout.partial_folder(archive))
        _plan_half_done(planned, layout.early_folder(archive))
    for folder in folders if jobs else []:
        if folder.is_symlink() or not folder.is_dir():
            planned["left"].append(folder)
        else:
            _plan_job(planned, folder)
    if folders and jobs:
        planned["folders"].append(folders[0].parent)
    state = expand(state_dir) / migration_id
    planned["files"] += [state / name for name in CREDENTIAL_FILES if (state / name).is_file()]
    planned["folders"] = _emptied(planned)
    return planned


def preview(planned: dict[str, Any]) -> dict[str, Any]:
    """The result that ``remove`` would return: ``{files, bytes, left}``."""
    return {
        "files": len(planned["files"]),
        "bytes": sum(path.lstat().st_size for path in planned["files"]),
        "left": [str(path) for path in planned["left"]],
    }


def remove(planned: dict[str, Any]) -> dict[str, Any]:
    """Remove the planned files, the manifest last; returns ``{files, bytes, left}``."""
    result = preview(planned)
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
        # An interrupted removal leaves only folders, so other files don't belong to this migration.
        planned["left"] += list(_files(root))
        planned["folders"] += _folders(root)
        return
    listing = manifest.load(root)
    if listing.get("migration_id") != migration_id or manifest_sha256 not in (None, manifest.sha256(path)):
        raise MigrationError(
            f"The archive in {root} is not the one that this migration created: its manifest is another one. Nothing was removed. "
            "Inspect it, and remove it by hand if it is not needed.",
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
    # The manifest is removed last, because the next run needs it to continue an interrupted removal.
    planned["files"] += [*files, path]
    planned["folders"] += _folders(root)


def _plan_half_done(planned: dict[str, Any], root: Path) -> None:
    """Plan the removal of all files if the marker or manifest exists: the names of pg_dump's files are not known in advance."""
    marks = [root / name for name in (layout.HALF_DONE, layout.MANIFEST) if (root / name).is_file()]
    if marks and not root.is_symlink():
        # The marks are removed last, because the next run needs one to continue an interrupted removal.
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
    """The folders, deepest first, that contain only files and folders to remove."""
    gone = set(planned["files"])
    emptied = []
    for folder in planned["folders"]:
        if all(path in gone for path in folder.iterdir()):
            gone.add(folder)
            emptied.append(folder)
    return emptied


def _files(root: Path) -> Iterator[Path]:
    """Everything below ``root`` except folders; symbolic links are listed and not followed."""
    for folder, subfolders, names in os.walk(root):
        for name in sorted([*names, *(sub for sub in subfolders if Path(folder, sub).is_symlink())]):
            yield Path(folder, name)


def _folders(root: Path) -> list[Path]:
    """``root`` and the folders below it, deepest first, without symbolic links."""
    return [Path(folder) for folder, _subfolders, _names in os.walk(root, topdown=False)]
