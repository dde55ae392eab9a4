# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a host's migrations: phases, jobs, last errors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, TypedDict

from ..common.errors import ErrorDocument, MigrationError
from ..common.progress_document import ProgressDocument
from ..common.progress_line import describe
from ..host.files import expand
from ..jobs import job, limits
from ..record import document as record_document
from ..record.promoted import Promotion, stored_promotion


class PhaseStatus(TypedDict):
    """A phase's last run, as the record has it, without the result."""

    status: str
    at: str
    host: str
    error: record_document.RecordedError | None


class JobStatus(TypedDict):
    """A job on this host. line: its progress as text, empty unless it runs; log: the path of its log."""

    kind: str
    status: str
    line: str
    progress: ProgressDocument
    limits: limits.LimitsDocument
    error: ErrorDocument | None
    log: str


class MigrationStatus(TypedDict):
    """The status of a migration on this host. phases: by name; promoted: what the promotion stored here; problems: damaged files."""

    migration_id: str
    phases: dict[str, PhaseStatus]
    jobs: list[JobStatus]
    promoted: Promotion | None
    problems: list[str]


def migration_ids(state_dir: str) -> list[str]:
    """The ids of all migrations with state on this host."""
    root = expand(state_dir)
    if not root.is_dir():
        return []
    return sorted(
        path.name for path in root.iterdir() if (path / "jobs").is_dir() or (path / record_document.NAME).exists()
    )


def overview(state_dir: str, migration_id: str, clock: Callable[[], float] = time.time) -> MigrationStatus:
    """The status of one migration on this host. Damaged files are listed in ``problems``."""
    phases: dict[str, PhaseStatus] = {}
    problems = []
    try:
        known = record_document.load(record_document.record_path(state_dir, migration_id))
        phases = {
            name: {"status": phase["status"], "at": phase["at"], "host": phase["host"], "error": phase["error"]}
            for name, phase in (known or {"phases": {}})["phases"].items()
        }
    except MigrationError as error:
        problems.append(error.message)
    jobs = []
    for folder in job.job_folders(state_dir, migration_id):
        try:
            jobs.append(_job(folder, clock()))
        except MigrationError as error:
            problems.append(error.message)
    return {
        "migration_id": migration_id,
        "phases": phases,
        "jobs": jobs,
        "promoted": _promoted(expand(state_dir) / migration_id),
        "problems": problems,
    }


def _job(folder: Path, now: float) -> JobStatus:
    state = job.read_state(folder)
    error = None
    try:
        state.raise_if_failed()
    except MigrationError as raised:
        error = raised.as_dict()
    return {
        "kind": folder.name,
        "status": state.status,
        "line": describe(state.progress, now) if state.status == "running" else "",
        "progress": state.progress,
        "limits": limits.load(folder).as_dict(),
        "error": error,
        "log": str(folder / "log"),
    }


def _promoted(state: Path) -> Promotion | None:
    try:
        return stored_promotion(state)
    except MigrationError:
        return None


def lines(found: MigrationStatus) -> list[str]:
    """An overview as lines of text."""
    shown = [f"Migration {found['migration_id']}"]
    running = [entry for entry in found["jobs"] if entry["status"] == "running"]
    active = {entry["kind"] for entry in running}
    phases = found["phases"]
    done = [name for name in record_document.PHASES if name in phases and phases[name]["status"] == "done"]
    if done:
        shown.append(f"  done     {', '.join(done)}")
    else:
        # The record is on another host, so list the jobs.
        jobs = [entry["kind"] for entry in found["jobs"] if entry["status"] == "done"]
        shown += [f"  done     {', '.join(jobs)}"] if jobs else []
    shown += [f"  running  {entry['kind']}: {entry['line']}" for entry in running]
    for name, phase in phases.items():
        if phase["status"] == "failed" and phase["error"] and name not in active:
            shown.append(f"  failed   {name} on {phase['host']}, {phase['at']}: {phase['error']['msg']}")
    for entry in found["jobs"]:
        # A failure that is in the record is shown above.
        if entry["error"] and not (entry["kind"] in phases and phases[entry["kind"]]["status"] == "failed"):
            shown.append(f"  stopped  {entry['kind']}: {entry['error']['message']} Log: {entry['log']}")
    back = phases.get("rollback")
    if back and back["status"] == "done":
        shown.append(f"  rolled back at {back['at']}")
    elif found["promoted"]:
        shown.append(f"  promoted {found['promoted'].get('name')}")
    shown += [f"  problem  {problem}" for problem in found["problems"]]
    return shown if len(shown) > 1 else [*shown, "  no job of this migration has run on this host"]
