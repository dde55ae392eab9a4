# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record: one JSON document for each migration, to which every phase adds what it did, saw and measured.

Its schema is ``docs/record.schema.json``.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, Callable

from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..host.files import expand, lock, read_json, write_json

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
# What of the details behind an error the report shows; the others may be anything.
_KEPT_DETAILS = ("differences", "matviews")
# What Ansible adds to a result, and what only matters while the job runs.
_NOT_KEPT = ("changed", "failed", "job", "diff", "invocation", "warnings", "deprecations", "exception", "skipped")


def record_path(state_dir: str, migration_id: str) -> Path:
    """Where the record of a migration is."""
    return expand(state_dir) / migration_id / NAME


def load(path: Path) -> dict[str, Any] | None:
    """The record, or None when there is none yet.

    Raises MigrationError ``damaged_file`` when the file is something else.
    """
    record = read_json(path)
    if record is None:
        return None
    if not isinstance(record, dict) or record.get("format") != FORMAT or not isinstance(record.get("phases"), dict):
        raise MigrationError(
            f"{path} is not the record of a migration. Look at it, then move it away and run again.",
            "damaged_file",
            path=str(path),
        )
    return record


def seal(record: dict[str, Any]) -> str:
    """The SHA-256 of everything else in the record: whether somebody has edited it, which no proof survives."""
    contents = {name: value for name, value in record.items() if name != "seal"}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def merge(
    record: dict[str, Any] | None, migration_id: str, database: str, phase: str, entry: dict[str, Any], now: str
) -> dict[str, Any]:
    """The record with what ``phase`` has to say; equal to the old one when it says nothing new."""
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
    if {name: value for name, value in old.items() if name != "at"} == entry:
        return record
    event = {"at": now, "phase": phase, "status": entry["status"], "host": entry["host"]}
    merged = dict(
        record,
        updated_at=now,
        phases=dict(record["phases"], **{phase: dict(entry, at=now)}),
        history=[*record["history"], event],
    )
    # A seal that was broken before is not mended by what comes after.
    if record.get("seal") == seal(record):
        merged["seal"] = seal(merged)
    return merged


def make_entry(host: str, result: dict[str, Any]) -> dict[str, Any]:
    """What a phase's result says, without what Ansible put around it."""
    kept = {name: value for name, value in result.items() if name not in _NOT_KEPT and not name.startswith("_ansible")}
    if result.get("failed"):
        failure = {name: kept.get(name) for name in ("msg", "code")}
        details = kept.get("details") or {}
        failure.update({name: details[name] for name in _KEPT_DETAILS if isinstance(details.get(name), list)})
        return {"status": "failed", "host": host, "error": failure, "result": {}}
    kept.pop("msg", None)
    return {"status": "done", "host": host, "error": None, "result": kept}


def add(
    path: Path,
    migration_id: str,
    database: str,
    phase: str,
    entry: dict[str, Any],
    write: bool,
    clock: Callable[[], float] = time.time,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Add the entry of ``phase``; returns the record after and before. Without ``write`` the file is left alone."""
    if not write:
        before = load(path)
        return merge(before, migration_id, database, phase, entry, utc_now(clock)), before
    with lock(path.with_suffix(".lock")):
        before = load(path)
        after = merge(before, migration_id, database, phase, entry, utc_now(clock))
        if after != before:
            write_json(path, after)
    return after, before
