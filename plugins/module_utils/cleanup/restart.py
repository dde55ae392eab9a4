# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Discard the archive of a dump or transfer on this host, so that the phase starts from the beginning.

Only archives recorded in the migration's state files are removed. Another archive is renamed and kept.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Callable, TypedDict

from ..archive import check as archive_check
from ..archive.identity import manifest_sha256
from ..common.errors import MigrationError
from ..dump import earlier_dump
from ..host.files import read_json
from ..jobs import job
from ..record.dumped import dumped_archive
from . import removal

# The jobs of each phase, and the jobs that depend on its result.
JOBS = {
    "dump": ("dump",),
    "transfer": ("transfer", "archive_check"),
    "restore": ("restore", "refresh", "verify"),
}


class Discarded(TypedDict):
    """The bytes that were removed, and the new name of a folder that was kept."""

    bytes: int
    kept_as: str | None
    changed: bool


def discard_archive(
    phase: str, state: Path, archive: Path, write: bool, clock: Callable[[], float] = time.time
) -> Discarded:
    """Remove the archive of the phase ``dump`` or ``transfer``.

    A transferred archive that is still the one that was dumped stays: the transfer compares it again and fetches what differs.
    Raises MigrationError ``job_running``.
    """
    check_idle(phase, state)
    removed: Discarded = {"bytes": 0, "kept_as": None, "changed": has_job(phase, state)}
    found = manifest_sha256(archive)
    if os.path.lexists(archive) and not (phase == "transfer" and found and found == dumped_archive(state)):
        removed["changed"] = True
        # An interrupted removal leaves only folders.
        ours = found == _noted(phase, state, archive) if found else removal.is_bare(archive)
        if ours:
            planned = removal.plan(archive, state.name, found or None, str(state.parent), jobs=False, damaged=True)
            removed["bytes"] = (removal.remove if write else removal.preview)(planned)["bytes"]
        # The folder still exists if it has files that are not in the manifest.
        if os.path.lexists(archive) and (write or not ours):
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock()))
            aside = archive.with_name(f"{archive.name}.kept_{stamp}")
            removed["kept_as"] = str(aside)
            if write:
                archive.rename(aside)
    if write:
        forget(phase, state)
        for name in (earlier_dump.FINISHED,) if phase == "dump" else (archive_check.STAMP,):
            (state / name).unlink(missing_ok=True)
    return removed


def _noted(phase: str, state: Path, archive: Path) -> str:
    """The SHA-256 of the manifest of the archive that this phase created in ``archive``; empty when it created none."""
    noted = read_json(state / (earlier_dump.FINISHED if phase == "dump" else archive_check.STAMP))
    if not isinstance(noted, dict) or noted.get("root", str(archive)) != str(archive):
        return ""
    return str(noted.get("manifest_sha256") or "")


def _folders(phase: str, state: Path) -> list[Path]:
    return [state / "jobs" / kind for kind in JOBS[phase]]


def has_job(phase: str, state: Path) -> bool:
    """Whether a job of the phase has left its state."""
    return any(job.read_state(folder).status != "absent" for folder in _folders(phase, state))


def check_idle(phase: str, state: Path) -> None:
    """Raises MigrationError ``job_running`` while a job of the phase runs."""
    running = [folder.name for folder in _folders(phase, state) if job.read_state(folder).status == "running"]
    if running:
        raise MigrationError(
            f"The {running[0]} of this migration is running. Nothing was discarded. To join it, run again without "
            "couch2pg_restart_from. To discard what it does, stop it first (ansible-playbook cht.couch2pg.cancel -i inventory.yml -e "
            f"couch2pg_migration_id={state.name}), then run again.",
            "job_running",
            jobs=running,
        )


def forget(phase: str, state: Path) -> None:
    """Remove the state of the phase's jobs."""
    for folder in _folders(phase, state):
        job.forget(folder)
