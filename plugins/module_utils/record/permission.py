# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Permission: what the record must say before something is done that is hard to undo.

Only a record that nobody but this collection has written says anything. Everything that is lacking is told at once.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

from ..common.errors import MigrationError
from .document import PHASES, seal

Record = Dict[str, Any]
# What is lacking, as a clause; None when nothing is.
Need = Callable[[Record], Optional[str]]


def require(record: Record | None, *needs: Need) -> Record:
    """The record, when it is sound and says everything that is needed.

    Raises MigrationError ``record_missing``, ``record_altered`` or ``not_permitted``; the latter's details have ``reasons``.
    """
    known = check_sound(record)
    reasons = [reason for reason in (need(known) for need in needs) if reason]
    if reasons:
        raise MigrationError(
            f"The record of the migration {known['migration_id']!r} doesn't permit this: {'; '.join(reasons)}. Nothing was changed.",
            "not_permitted",
            reasons=reasons,
        )
    return known


def check_sound(record: Record | None) -> Record:
    """The record; raises MigrationError ``record_missing`` or ``record_altered``."""
    if record is None:
        raise MigrationError(
            "There is no record of this migration: nothing proves what was moved. Check couch2pg_migration_id and couch2pg_state_dir.",
            "record_missing",
        )
    problem = _contradiction(record)
    if problem:
        raise MigrationError(
            f"The record of this migration was altered by something else than this collection: {problem}. It proves nothing any more. "
            "Put back the copy from the controller's couch2pg-records that was made before.",
            "record_altered",
            problem=problem,
        )
    return record


def done(record: Record, phase: str) -> dict[str, Any] | None:
    """What a phase returned, when it is done."""
    entry = record["phases"].get(phase)
    return entry["result"] if entry is not None and entry["status"] == "done" else None


def verified(record: Record) -> str | None:
    """The database on the target was found to be the same as the source."""
    return None if done(record, "verify") is not None else "the database was not verified (run cht.couch2pg.migrate)"


def promoted(record: Record) -> str | None:
    """The verified database got its real name."""
    return (
        None
        if done(record, "promote") is not None
        else "that the database got its real name on the target is not recorded (run cht.couch2pg.migrate)"
    )


def healthy(record: Record) -> str | None:
    """couch2pg on the target was proven to be healthy."""
    return None if done(record, "handover") is not None else "couch2pg on the target was not proven to be healthy"


def couch2pg_moved(record: Record) -> str | None:
    """couch2pg was moved, too, and so fills the target."""
    if "handover" in record["phases"]:
        return None
    return (
        "couch2pg was not moved (where it fills the target all the same, say couch2pg_cutover_without_couch2pg: true)"
    )


def healthy_where_moved(record: Record) -> str | None:
    """couch2pg on the target was proven to be healthy, if it is one that was moved."""
    return healthy(record) if couch2pg_moved(record) is None else None


def dashboards_same(record: Record) -> str | None:
    """What dashboards ask was the same on both sides, where it was compared."""
    compared = done(record, "dashboards")
    if compared is None or compared.get("passed"):
        return None
    return "the dashboards' queries differ between source and target (run cht.couch2pg.dashboards again)"


def cut_over(record: Record) -> str | None:
    """Dashboards read the target."""
    if (done(record, "cutover") or {}).get("side") == "target":
        return None
    return (
        "the dashboards were not pointed at the target (run cht.couch2pg.cutover; where there are none, say "
        "couch2pg_no_dashboards: true)"
    )


def not_rolled_back(record: Record) -> str | None:
    """The way back was not taken."""
    return "it was rolled back" if done(record, "rollback") is not None else None


def _contradiction(record: Record) -> str | None:
    """What can't be so in a record that only this collection has written."""
    try:
        return _first_contradiction(record)
    except (AttributeError, KeyError, TypeError, ValueError):
        return "it isn't as docs/record.schema.json says"


def _first_contradiction(record: Record) -> str | None:
    phases, last = record["phases"], {event["phase"]: event for event in record["history"]}
    for name, entry in phases.items():
        told = {field: last.get(name, {}).get(field) for field in ("at", "status", "host")}
        if name not in PHASES or told != {field: entry[field] for field in told}:
            return f"its history doesn't tell of the phase {name} as it stands"
    oids = {name: phases[name]["result"].get("oid") for name in ("restore", "verify", "promote") if done(record, name)}
    if len(set(oids.values())) > 1:
        return f"its phases name different databases ({', '.join(f'{name} oid {oid}' for name, oid in oids.items())})"
    if record.get("seal") != seal(record):
        return "its contents don't match its seal"
    return None
