# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles around a restore: made before it, so that every owner and grant finds its role; renamed or revoked after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.errors import MigrationError
from ..host.files import read_json, write_json
from ..postgres import role_plan, role_transfer
from ..postgres.connection import ConnectionSettings, Session
from ..postgres.database import roles
from ..postgres.role_plan import RolePlan
from .steps import RestoreSteps

FILE = "temporary_roles.json"


def make(session: Session, state: Path, parameters: dict[str, Any], evidence: dict[str, Any]) -> RolePlan:
    """Make the roles that the archive needs and this server lacks; returns what is to happen to all of them."""
    owning = role_plan.owners(evidence["objects"], evidence["database"])
    identity = parameters["server_identity"]
    # An earlier attempt may have made some; they are as good as missing.
    before = _temporary(state, identity)
    planned = role_plan.plan(
        session, evidence["roles"], owning, parameters["missing_roles"], parameters["role_map"], set(before)
    )
    # Written before they are made: a killed attempt leaves none that nobody drops.
    write_json(state / FILE, {"identity": identity, "names": sorted({*before, *planned.temporary})})
    role_plan.make(session, planned, role_plan.acted_for(evidence["objects"], evidence["database"]))
    return planned


def finish(incoming: ConnectionSettings, state: Path, steps: RestoreSteps, identity: str) -> dict[str, str | None]:
    """Rename and revoke as it was planned, and drop the roles that were made for the restore; returns the moves."""
    moves: dict[str, str | None] = steps.result("moves") or {}
    temporary = _temporary(state, identity)
    with Session(incoming) as session:
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
            f"The role {name!r}, made for this restore only, can't be dropped: {error.details.get('detail')}. "
            "Somebody has used it elsewhere; revoke that, or keep the role (missing_roles: create), then run again.",
            "role_in_use",
            role=name,
        ) from error


def _temporary(state: Path, identity: str) -> list[str]:
    stored = read_json(state / FILE)
    if not isinstance(stored, dict) or stored.get("identity") != identity:
        return []
    return [str(name) for name in stored.get("names", [])]
