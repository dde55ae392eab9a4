# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles of a restore: created before it, so that every owner and grantee exists; renamed or revoked after it."""

from __future__ import annotations

from pathlib import Path

from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..host.files import read_json, write_json
from ..postgres import role_plan, role_transfer
from ..postgres.connection import ConnectionSettings
from ..postgres.database import roles
from ..postgres.identifiers import quote
from ..postgres.role_plan import RolePlan
from ..postgres.session import Session, server_identity
from .parameters import Parameters
from .steps import RestoreSteps

FILE = "temporary_roles.json"
CREATED = "created_roles.json"
GIVEN = "given_logins.json"
# The databases in which an object depends on a role. For an object of the whole server, any database will do: the current one.
_USED_IN = """
SELECT DISTINCT coalesce(d.datname, pg_catalog.current_database()) AS name FROM pg_catalog.pg_shdepend AS s
JOIN pg_catalog.pg_roles AS r ON r.oid = s.refobjid AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.dbid WHERE r.rolname = %s ORDER BY 1
"""


def make(session: Session, state: Path, parameters: Parameters, evidence: Evidence) -> RolePlan:
    """Create the roles that the archive needs and this server lacks; returns the plan for all roles."""
    owning = role_plan.owners(evidence["objects"], evidence["database"])
    identity = parameters["server_identity"]
    before, earlier = _stored(state / FILE, identity), created(session, state, identity)
    # Roles of an earlier attempt count as missing, so that this one decides again. With "fail" they count as present.
    undecided = set() if parameters["missing_roles"] == "fail" else set(earlier)
    planned = role_plan.plan(
        session,
        evidence["roles"],
        owning,
        parameters["missing_roles"],
        parameters["role_map"],
        undecided | set(before),
    )
    # Record the names before creating the roles, so that the next attempt can drop them after a kill.
    write_json(state / FILE, {"identity": identity, "names": sorted({*before, *planned.temporary})})
    made = {role["name"] for role in planned.make}
    still = [name for name in earlier if name not in made and (name not in undecided or not _dropped(session, name))]
    write_json(state / CREATED, {"identity": identity, "names": sorted({*still, *planned.kept})})
    role_plan.make(session, planned, role_plan.acted_for(evidence["objects"], evidence["database"]))
    return planned


def created(session: Session, state: Path, identity: str) -> list[str]:
    """Names of the roles that this migration created, in any attempt, and that can't log in yet."""
    there = roles(session, set(_stored(state / CREATED, identity)))
    return sorted(role["name"] for role in there if not role["login"])


def remember_login(session: Session, state: Path, name: str) -> None:
    """Record, before the role ``name`` gets its login, that this migration created it. Another role is not recorded."""
    identity = server_identity(session)
    if name in created(session, state, identity):
        given = {*given_logins(state, identity), name}
        write_json(state / GIVEN, {"identity": identity, "names": sorted(given)})


def given_logins(state: Path, identity: str) -> list[str]:
    """Names of the roles that this migration created and then gave their login."""
    return _stored(state / GIVEN, identity)


def finish(incoming: ConnectionSettings, state: Path, steps: RestoreSteps, identity: str) -> dict[str, str | None]:
    """Rename and revoke roles as planned, and drop the temporary roles; returns the moves."""
    moves = steps.done.get("moves") or {}
    temporary = _stored(state / FILE, identity)
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
        places = [row["name"] for row in session.rows(_USED_IN, [name])]
        raise MigrationError(
            f"The temporary role {name!r} of this restore can't be dropped: {error.details.get('detail')}. "
            f"Take from it what it has, in each of these databases of the target: {', '.join(places)}, as a superuser: REASSIGN OWNED BY "
            f"{quote(name)} TO CURRENT_USER; DROP OWNED BY {quote(name)}; Then run again.",
            "role_in_use",
            role=name,
        ) from error


def _dropped(session: Session, name: str) -> bool:
    """Drop a role that an earlier attempt created and this one doesn't need; False when an object depends on it."""
    try:
        session.execute(f"DROP ROLE {quote(name)}")
    except MigrationError as error:
        if error.details.get("sqlstate") != "2BP01":
            raise
        return False
    return True


def _stored(path: Path, identity: str) -> list[str]:
    stored = read_json(path)
    if not isinstance(stored, dict) or stored.get("identity") != identity:
        return []
    return [str(name) for name in stored.get("names", [])]
