# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles of a restore: created before it, so that every owner and grantee exists; renamed or revoked after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..host.files import read_json, write_json
from ..postgres import event_triggers, role_plan, role_transfer
from ..postgres.connection import ConnectionSettings, Session
from ..postgres.database import roles
from ..postgres.role_plan import RolePlan
from .steps import RestoreSteps

FILE = "temporary_roles.json"


def make(session: Session, state: Path, parameters: dict[str, Any], evidence: Evidence) -> RolePlan:
    """Create the roles that the archive needs and this server lacks; returns the plan for all roles."""
    owning = role_plan.owners(evidence["objects"], evidence["database"])
    identity = parameters["server_identity"]
    # Temporary roles of an earlier attempt count as missing.
    before = _temporary(state, identity)
    planned = role_plan.plan(
        session, evidence["roles"], owning, parameters["missing_roles"], parameters["role_map"], set(before)
    )
    # Record the names before creating the roles, so that the next attempt can drop them after a kill.
    write_json(state / FILE, {"identity": identity, "names": sorted({*before, *planned.temporary})})
    role_plan.make(session, planned, role_plan.acted_for(evidence["objects"], evidence["database"]))
    return planned


def finish(incoming: ConnectionSettings, state: Path, steps: RestoreSteps, identity: str) -> dict[str, str | None]:
    """Rename and revoke roles as planned, and drop the temporary roles; returns the moves."""
    moves: dict[str, str | None] = steps.result("moves") or {}
    temporary = _temporary(state, identity)
    with Session(incoming) as session:
        event_triggers.silence(session)
        role_transfer.transfer(session, moves)
        for role in roles(session, set(temporary)):
            _drop(session, role["name"])
    (state / FILE).unlink(missing_ok=True)
    return moves


def _drop(session: Session, name: str) -> None:
    try:
        role_transfer.drop(session, name)
    except MigrationError as error:
        if error.details.get("sqlstate") != "2BP01":
            raise
        raise MigrationError(
            f"The temporary role {name!r} of this restore can't be dropped: {error.details.get('detail')}. "
            "Revoke its uses elsewhere, or keep the role (couch2pg_missing_roles: create), then run again.",
            "role_in_use",
            role=name,
        ) from error


def _temporary(state: Path, identity: str) -> list[str]:
    stored = read_json(state / FILE)
    if not isinstance(stored, dict) or stored.get("identity") != identity:
        return []
    return [str(name) for name in stored.get("names", [])]
