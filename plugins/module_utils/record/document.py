# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record: one JSON document for each migration, to which every phase adds its result.

Its JSON schema is ``docs/record.schema.json``.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from pathlib import Path
from typing import Any, Callable, Mapping, TypedDict, cast

from ..common.clock import utc_now
from ..common.difference import Difference
from ..common.errors import MigrationError
from ..host.files import expand, lock, read_json, write_json
from .results import RefreshOutcome

FORMAT = 1
NAME = "record.json"
PHASES = (
    "preflight",
    "dump",
    "transfer",
    "restore",
    "refresh",
    "verify",
    "promote",
    "handover",
    "dashboards",
    "cutover",
    "rollback",
    "cleanup",
    "rehearse",
)
# The phases that build the database before it is promoted.
_BEFORE_PROMOTION = PHASES[: PHASES.index("promote") + 1]
# Codes of errors that refuse a call and say nothing about the outcome of the phase.
REFUSALS = ("promoted", "other_database", "relative_path")
# Details of an error that the report shows; others are not stored, because their content varies.
_KEPT_DETAILS = ("differences", "matviews")
# Keys that Ansible adds to a result, the job's state, which only matters while the job runs, and what only matters for this run.
_NOT_KEPT = (
    "changed",
    "failed",
    "recorded",
    "job",
    "transfer_source",
    "diff",
    "invocation",
    "warnings",
    "deprecations",
    "exception",
    "skipped",
)


class RecordedError(TypedDict, total=False):
    """Why a phase failed: the error's message and code, and the lists of its details that the report shows."""

    msg: str
    code: str
    differences: list[Difference]
    matviews: list[RefreshOutcome]


class PhaseEntry(TypedDict, total=False):
    """A phase's last run: ``status`` is ``done``, with the module's ``result``, or ``failed``, with an ``error``.

    at: when the entry was written (``clock.utc_now``); host: where the phase ran.
    """

    at: str
    status: str
    host: str
    error: RecordedError | None
    result: dict[str, Any]


class Event(TypedDict):
    """One run of a phase, in the record's history."""

    at: str
    phase: str
    status: str
    host: str


class Record(TypedDict, total=False):
    """The record of a migration; times are those of ``clock.utc_now``."""

    format: int
    migration_id: str
    database: str
    created_at: str
    updated_at: str
    phases: dict[str, PhaseEntry]
    history: list[Event]
    seal: str


def record_path(state_dir: str, migration_id: str) -> Path:
    """The path of a migration's record."""
    return expand(state_dir) / migration_id / NAME


def putting_back(state: Path) -> str:
    """A clause for messages: how the operator restores the record in the state folder ``state`` from its copy on the controller."""
    name = f"{state.name}.json"
    return (
        f"copy {name} from the controller (from couch2pg_records_dir, by default couch2pg-records where the run was started) to this host, "
        f"and write it into the record, which keeps its owner (cat {shlex.quote(name)} >{shlex.quote(str(state / NAME))})"
    )


def load(path: Path) -> Record | None:
    """The record, or None when it doesn't exist yet.

    Raises MigrationError ``damaged_file`` when the file isn't a record.
    """
    remedy = f"If it was the record of a migration, {putting_back(path.parent)}. Else move it away. Then run again."
    record = read_json(path, remedy)
    if record is None:
        return None
    if not isinstance(record, dict) or record.get("format") != FORMAT or not isinstance(record.get("phases"), dict):
        raise MigrationError(
            f"{path} is not the record of a migration. {remedy}",
            "damaged_file",
            path=str(path),
        )
    return cast("Record", record)


def seal(record: Mapping[str, Any]) -> str:
    """The SHA-256 of the record without its seal. A record that was edited doesn't match its seal and proves nothing."""
    contents = {name: value for name, value in record.items() if name != "seal"}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def merge(record: Record | None, migration_id: str, database: str, phase: str, entry: PhaseEntry, now: str) -> Record:
    """The record with the entry of ``phase``; ``record`` itself when the entry is the same as before."""
    if record is None:
        record = {
            "format": FORMAT,
            "migration_id": migration_id,
            "database": database,
            "created_at": now,
            "updated_at": now,
            "phases": {},
            "history": [],
        }
        record["seal"] = seal(record)
    old = record["phases"].get(phase, {})
    if {name: value for name, value in old.items() if name != "at"} == entry or _is_finished(record, phase, entry):
        return record
    event: Event = {"at": now, "phase": phase, "status": entry["status"], "host": entry["host"]}
    recorded = entry.copy()
    recorded["at"] = now
    merged = record.copy()
    # The name may be missing: a role that works without it, such as transfer used alone, doesn't know the name of the database.
    merged["database"] = record["database"] or database
    merged["updated_at"] = now
    merged["phases"] = {**record["phases"], phase: recorded}
    merged["history"] = [*record["history"], event]
    # Keep the old seal when it doesn't match: a later phase must not hide that the record was edited.
    if record.get("seal") == seal(record):
        merged["seal"] = seal(merged)
    return merged


def _is_finished(record: Record, phase: str, entry: PhaseEntry) -> bool:
    """Whether ``entry`` is a failure of a phase that was done before the promotion.

    Such a failure says nothing about the promoted database. It is not recorded, because it would hide the proof for that database.
    """
    promoted = record["phases"].get("promote", {}).get("status") == "done"
    done = record["phases"].get(phase, {}).get("status") == "done"
    return entry["status"] == "failed" and phase in _BEFORE_PROMOTION and promoted and done


def check_database(record: Record | None, database: str) -> None:
    """Raise MigrationError ``other_database`` when the record is of a migration of another database.

    An empty name is not checked.
    """
    known = (record or {}).get("database")
    if record is not None and known and database and known != database:
        raise MigrationError(
            f"The migration {record['migration_id']!r} is of the database {known!r}, and this run is about {database!r}. "
            "Nothing was changed. Set couch2pg_migration_id (for a role alone, its own <role>_migration_id) to another name, such as "
            f"{database!r}.",
            "other_database",
            recorded=known,
        )


def make_entry(host: str, result: dict[str, Any]) -> PhaseEntry:
    """The entry of a phase, from the module's ``result`` without the keys that Ansible added."""
    kept = {name: value for name, value in result.items() if name not in _NOT_KEPT and not name.startswith("_ansible")}
    if result.get("failed"):
        details = kept.get("details") or {}
        lists = {name: details[name] for name in _KEPT_DETAILS if isinstance(details.get(name), list)}
        error = cast("RecordedError", {"msg": kept.get("msg"), "code": kept.get("code"), **lists})
        return {"status": "failed", "host": host, "error": error, "result": {}}
    kept.pop("msg", None)
    return {"status": "done", "host": host, "error": None, "result": kept}


def add(
    path: Path,
    migration_id: str,
    database: str,
    phase: str,
    entry: PhaseEntry,
    write: bool,
    clock: Callable[[], float] = time.time,
) -> tuple[Record, Record | None]:
    """Add the entry of ``phase``; returns the record after and before. Without ``write`` the file is not changed.

    Raises MigrationError ``other_database``.
    """
    if not write:
        before = load(path)
        check_database(before, database)
        return merge(before, migration_id, database, phase, entry, utc_now(clock)), before
    with lock(path.with_suffix(".lock")):
        before = load(path)
        check_database(before, database)
        after = merge(before, migration_id, database, phase, entry, utc_now(clock))
        if after != before:
            write_json(path, after)
    return after, before
