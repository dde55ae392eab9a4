# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove a migration's archive and job folders, file by file and only files known by name.

Other files are kept and listed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, TypedDict

from ..archive import layout, manifest
from ..archive.partial import is_ours
from ..common.errors import MigrationError
from ..host.files import expand, is_unfinished, unfinished
from ..jobs import job, limits
from ..jobs import runner as job_runner
from ..transfer import partial_archive
from .leftovers import CREDENTIAL_FILES

# The first file in a job's folder, which shows that the folder is a job's. It is removed last.
_MARK = "start.lock"
# The files in a job's folder. The folders contain only files of the job.
_OF_A_JOB = ("spec.json", "progress.json", "result.json", "log", "lock", _MARK, limits.FILE, job_runner.RESERVE)
_FOLDERS_OF_A_JOB = ("code", "work")


@dataclass
class Plan:
    """What to remove, and what is kept.

    files: in this order; folders: those that are empty afterwards, deepest first; left: the paths that are kept; dumps: the names of the
    dumps that ``retention`` removes.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)
    dumps: list[str] = field(default_factory=list)


class Removed(TypedDict):
    """How many files were removed, their bytes, and the paths that were kept."""

    files: int
    bytes: int
    left: list[str]


def plan(
    archive: Path | None,
    migration_id: str,
    manifest_sha256: str | None,
    state_dir: str,
    *,
    half_done: bool = False,
    jobs: bool = True,
    damaged: bool = False,
) -> Plan:
    """Plan the removal of this migration's archive and job folders.

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
            f"stop them (ansible-playbook cht.couch2pg.cancel -i inventory.yml -e couch2pg_migration_id={migration_id}), then run again.",
            "job_running",
            jobs=running,
        )
    planned = Plan()
    if archive is not None and archive.is_dir() and not archive.is_symlink():
        _plan_archive(planned, archive, migration_id, manifest_sha256, damaged)
    if archive is not None and half_done:
        _plan_half_done(planned, layout.partial_folder(archive))
        _plan_half_done(planned, layout.early_folder(archive))
    for folder in folders if jobs else []:
        if folder.is_symlink() or not folder.is_dir():
            planned.left.append(folder)
        else:
            _plan_job(planned, folder)
    state = expand(state_dir) / migration_id
    if jobs and (state / "jobs").is_dir():
        planned.folders.append(state / "jobs")
    for name in CREDENTIAL_FILES:
        planned.files += [path for path in (state / name, *unfinished(state / name)) if path.is_file()]
    planned.folders = _emptied(planned)
    return planned


def preview(planned: Plan) -> Removed:
    """The result that ``remove`` would return."""
    return {
        "files": len(planned.files),
        "bytes": sum(path.lstat().st_size for path in planned.files),
        "left": [str(path) for path in planned.left],
    }


def remove(planned: Plan) -> Removed:
    """Remove the planned files in their order, and each folder as soon as it is empty.

    So the file that the next run needs to resume an interrupted removal is removed after all other files and their folders.
    """
    result = preview(planned)
    folders = set(planned.folders)
    for folder in planned.folders:
        _remove_empty(folder, folders)
    for path in planned.files:
        path.unlink()
        _remove_empty(path.parent, folders)
    return result


def _remove_empty(folder: Path, planned: set[Path]) -> None:
    """Remove the folder and those above it, as far as they are planned and empty."""
    while folder in planned and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _plan_archive(planned: Plan, root: Path, migration_id: str, manifest_sha256: str | None, damaged: bool) -> None:
    path = root / layout.MANIFEST
    if not path.is_file():
        # An interrupted removal leaves only folders, so other files don't belong to this migration.
        planned.left += list(_files(root))
        planned.folders += _folders(root)
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
    planned.left += sorted(set(found) - set(files))
    # The manifest is removed last, because the next run needs it to continue an interrupted removal.
    planned.files += [*files, path]
    planned.folders += _folders(root)


def _plan_half_done(planned: Plan, root: Path) -> None:
    """Plan the removal of all files if the marker or manifest exists: the names of pg_dump's files are not known in advance.

    An interrupted removal leaves only folders.
    """
    marks = [root / name for name in (layout.HALF_DONE, layout.MANIFEST) if (root / name).is_file()]
    if (marks or is_ours(root) or is_bare(root)) and not root.is_symlink():
        # The marks are removed last, because the next run needs one to continue an interrupted removal.
        planned.files += [*(path for path in _files(root) if path not in marks), *marks]
        planned.folders += _folders(root)


def _plan_job(planned: Plan, folder: Path) -> None:
    marked = (folder / _MARK).is_file()
    for path in sorted(_files(folder), key=lambda path: path.name == _MARK):
        top = path.relative_to(folder).parts[0]
        ours = path.parent == folder and any(path.name == name or is_unfinished(path.name, name) for name in _OF_A_JOB)
        removed = marked and (ours or top in _FOLDERS_OF_A_JOB)
        (planned.files if removed else planned.left).append(path)
    planned.folders += _folders(folder)


def is_bare(root: Path) -> bool:
    """Whether ``root`` is a folder with nothing but folders in it."""
    return root.is_dir() and not root.is_symlink() and not any(_files(root))


def _emptied(planned: Plan) -> list[Path]:
    """The folders, deepest first, that contain only files and folders to remove."""
    gone = set(planned.files)
    emptied = []
    for folder in planned.folders:
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
