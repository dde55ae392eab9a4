# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Discard the result of a phase on this host, so that the phase starts from the beginning.

Only archives and databases recorded in the migration's state files are removed. Another archive is renamed and kept.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable

from ..archive import check as archive_check
from ..archive.identity import manifest_sha256
from ..common.errors import MigrationError
from ..dump import earlier_dump
from ..host.files import read_json
from ..jobs import job
from ..physical import removal as removal_of_copy
from ..postgres.connection import ConnectionSettings, Session, server_identity
from ..record.dumped import dumped_archive
from ..record.promoted import already_promoted
from ..record.rolled_back import already_reversed
from ..restore import target_database
from . import removal

# The jobs of each phase, and the jobs that depend on its result.
JOBS = {
    "dump": ("dump",),
    "transfer": ("transfer", "archive_check"),
    "restore": ("restore", "refresh", "verify"),
}


def discard_archive(
    phase: str, state: Path, archive: Path, write: bool, clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """Remove the archive of the phase ``dump`` or ``transfer``; returns ``{bytes, kept_as, changed}``.

    A transferred archive that is still the one that was dumped stays: the transfer compares it again and fetches what differs.
    Raises MigrationError ``job_running``.
    """
    _check_idle(phase, state)
    removed: dict[str, Any] = {"bytes": 0, "kept_as": None, "changed": _has_job(phase, state)}
    found = manifest_sha256(archive)
    if os.path.lexists(archive) and not (phase == "transfer" and found and found == dumped_archive(state)):
        removed["changed"] = True
        ours = bool(found) and found == _noted(phase, state, archive)
        if ours:
            planned = removal.plan(archive, state.name, found, str(state.parent), jobs=False, damaged=True)
            removed["bytes"] = (removal.remove if write else removal.preview)(planned)["bytes"]
        # Files that are not in the manifest still exist.
        if os.path.lexists(archive) and (write or not ours):
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock()))
            aside = archive.with_name(f"{archive.name}.kept_{stamp}")
            removed["kept_as"] = str(aside)
            if write:
                archive.rename(aside)
    if write:
        _forget(phase, state)
        for name in (earlier_dump.FINISHED,) if phase == "dump" else (archive_check.STAMP,):
            (state / name).unlink(missing_ok=True)
    return removed


def discard_database(settings: ConnectionSettings, state: Path, incoming: str, write: bool) -> dict[str, Any]:
    """Drop the database that this migration restores into, or remove its copy of the whole server (method physical).

    Returns ``{dropped, changed}``, dropped: the name of the database, the folder of the copy, or None.

    settings: of the database with the real name. Raises MigrationError ``job_running``, ``promoted``, ``rolled_back`` or
    ``incoming_exists``.
    """
    _check_idle("restore", state)
    if (
        already_reversed(settings, state) is not None
        or already_promoted(settings, state, settings.database) is not None
    ):
        raise MigrationError(
            f"The migration {state.name!r} has given the database {settings.database!r} its name already, so it can't be restored "
            "again under this couch2pg_migration_id. Nothing was changed. Roll it back (cht.couch2pg.rollback) where that wasn't done, "
            "then migrate again with another couch2pg_migration_id.",
            "promoted",
        )
    copy = removal_of_copy.copy_of(state)
    if copy is not None:
        # The method physical makes no database in the target's server.
        there = removal_of_copy.remove(copy, write)
        incoming = str(copy.incoming)
    else:
        with Session(settings.maintenance) as session:
            there = target_database.check_own(session, state, server_identity(session), incoming)
            if write and there:
                target_database.drop(session, incoming)
    changed = there or _has_job("restore", state)
    if write:
        _forget("restore", state)
    return {"dropped": incoming if there else None, "changed": changed}


def _noted(phase: str, state: Path, archive: Path) -> str:
    """The SHA-256 of the manifest of the archive that this phase created in ``archive``; empty when it created none."""
    noted = read_json(state / (earlier_dump.FINISHED if phase == "dump" else archive_check.STAMP))
    if not isinstance(noted, dict) or noted.get("root", str(archive)) != str(archive):
        return ""
    return str(noted.get("manifest_sha256") or "")


def _folders(phase: str, state: Path) -> list[Path]:
    return [state / "jobs" / kind for kind in JOBS[phase]]


def _has_job(phase: str, state: Path) -> bool:
    return any(job.read_state(folder).status != "absent" for folder in _folders(phase, state))


def _check_idle(phase: str, state: Path) -> None:
    running = [folder.name for folder in _folders(phase, state) if job.read_state(folder).status == "running"]
    if running:
        raise MigrationError(
            f"The {running[0]} of this migration is running. Nothing was discarded. Wait until it ends, or stop it "
            "(ansible-playbook cht.couch2pg.cancel -i inventory), then run again.",
            "job_running",
            jobs=running,
        )


def _forget(phase: str, state: Path) -> None:
    for folder in _folders(phase, state):
        job.forget(folder)
