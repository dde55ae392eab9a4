# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions that the record must fulfil before an action that is hard to undo.

A record that was edited proves nothing and is refused. All unfulfilled conditions are reported at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional

from ..common import restart
from ..common.errors import MigrationError
from .document import PHASES, Record, putting_back, seal

# Returns the unfulfilled condition as a clause for a message; None when it is fulfilled.
Need = Callable[[Record], Optional[str]]


def _run(playbook: str) -> str:
    return f"run ansible-playbook cht.couch2pg.{playbook} -i inventory.yml"


MIGRATE = _run("migrate")


def require(record: Record | None, state: Path, *needs: Need) -> Record:
    """The record, checked to be unaltered and to fulfil all ``needs``.

    Raises MigrationError ``record_missing``, ``record_altered`` or ``not_permitted`` (with ``reasons`` in the details).
    """
    known = check_sound(record, state)
    reasons = [reason for reason in (need(known) for need in needs) if reason]
    if reasons:
        raise MigrationError(
            f"The record of the migration {known['migration_id']!r} doesn't allow this: {'; '.join(reasons)}. Nothing was changed.",
            "not_permitted",
            reasons=reasons,
        )
    return known


def check_sound(record: Record | None, state: Path) -> Record:
    """The record, checked to be unaltered. Raises MigrationError ``record_missing`` or ``record_altered``."""
    if record is None:
        raise MigrationError(
            f"The migration {state.name!r} has no record in {state}, so nothing proves what was migrated. Check couch2pg_migration_id and "
            f"couch2pg_state_dir. If the file was lost, {putting_back(state)}.",
            "record_missing",
        )
    problem = _contradiction(record)
    if problem:
        raise MigrationError(
            f"The record of this migration was edited outside of this collection, so it proves nothing: {problem}. "
            f"To undo that, {putting_back(state)}.",
            "record_altered",
            problem=problem,
        )
    return record


def done(record: Record, phase: str) -> dict[str, Any] | None:
    """The result of a phase; None unless the phase is done."""
    entry = record["phases"].get(phase)
    return entry["result"] if entry is not None and entry["status"] == "done" else None


def verified(record: Record) -> str | None:
    """The target's database was verified to equal the source's."""
    return None if done(record, "verify") is not None else f"the database was not verified ({MIGRATE})"


def promoted(record: Record) -> str | None:
    """The verified database was promoted to its real name."""
    return (
        None
        if done(record, "promote") is not None
        else f"the database was not promoted to its real name on the target ({MIGRATE})"
    )


def healthy(record: Record) -> str | None:
    """couch2pg on the target was verified to be healthy."""
    if done(record, "handover") is not None:
        return None
    if "handover" in record["phases"]:
        return f"couch2pg on the target was not verified to be healthy ({MIGRATE})"
    return (
        f"couch2pg on the target was not verified to be healthy, because it was not moved ({MIGRATE} -e couch2pg_handover=true; "
        "where there is no couch2pg, nothing shows that the target is up to date, so do this step by hand)"
    )


def couch2pg_moved(record: Record) -> str | None:
    """couch2pg was moved as well, so it writes to the target."""
    if "handover" in record["phases"]:
        return None
    return "couch2pg was not moved (if it writes to the target anyway, set couch2pg_cutover_without_couch2pg: true)"


def healthy_where_moved(record: Record) -> str | None:
    """couch2pg on the target was verified to be healthy, if it was moved."""
    return healthy(record) if couch2pg_moved(record) is None else None


def dashboards_same(record: Record) -> str | None:
    """The dashboards' queries returned the same on source and target, if they were compared."""
    compared = done(record, "dashboards")
    if compared is None or compared.get("passed"):
        return None
    return f"the dashboards' queries differ between source and target ({_run('dashboards')} again)"


def cut_over(record: Record) -> str | None:
    """The dashboards read the target."""
    if (done(record, "cutover") or {}).get("side") == "target":
        return None
    return f"the dashboards were not pointed at the target ({_run('cutover')}, or set couch2pg_no_dashboards: true if there are none)"


def not_rolled_back(record: Record) -> str | None:
    """The migration was not rolled back."""
    if done(record, "rollback") is None:
        return None
    again = restart.migrate_as(record["migration_id"])
    return f"it was rolled back (to migrate again, use another name: {again})"


def _contradiction(record: Record) -> str | None:
    """A contradiction that shows that the record was edited; None when there is none."""
    try:
        return _first_contradiction(record)
    except (AttributeError, KeyError, TypeError, ValueError):
        return "it doesn't match docs/record.schema.json"


def _first_contradiction(record: Record) -> str | None:
    phases, last = record["phases"], {event["phase"]: event for event in record["history"]}
    for name, entry in phases.items():
        event = last.get(name)
        if (
            name not in PHASES
            or event is None
            or any(event[field] != entry[field] for field in ("at", "status", "host"))
        ):
            return f"its history contradicts the entry of the phase {name}"
    oids = {name: phases[name]["result"].get("oid") for name in ("restore", "verify", "promote") if done(record, name)}
    if len(set(oids.values())) > 1:
        return (
            f"its phases contain different databases ({', '.join(f'{name} oid {oid}' for name, oid in oids.items())})"
        )
    if record.get("seal") != seal(record):
        return "its content doesn't match its checksum"
    return None
