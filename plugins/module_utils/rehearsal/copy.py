# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop a rehearsal's copy of the database, and the roles that were created for it; with the method physical, its copy of the server."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from ..common import restart
from ..common.errors import MigrationError
from ..common.evidence_document import DatabaseProperties
from ..host.files import read_json
from ..jobs import job
from ..physical import removal
from ..postgres.connection import ConnectionSettings
from ..postgres.database import ending, find_database, freeing_name, other_sessions, roles, users
from ..postgres.database_removal import drop_database
from ..postgres.identifiers import quote
from ..postgres.session import Session, server_identity
from ..record.promoted import PROMOTED
from ..record.restored import STEPS_FILE, restored_oid
from ..restore import roles as restore_roles
from ..restore import target_database

_CONNECTED = "SELECT pg_catalog.count(*) > 0 FROM pg_catalog.pg_stat_activity WHERE usename = %s"


class Copy(TypedDict):
    """The copy that a rehearsal made, and the roles that were created for it.

    database: its name, or None when it doesn't exist; copy: the folder of a copy of the whole server, beside the data directory, or None.
    """

    database: str | None
    roles: list[str]
    copy: str | None


def plan(settings: ConnectionSettings, state: Path) -> Copy:
    """What is to be dropped. Changes nothing.

    Raises MigrationError ``not_a_rehearsal``, ``not_ours`` or ``database_in_use``.
    """
    name = settings.database
    if restart.rehearses(state.name) is None or (state / PROMOTED).exists():
        raise MigrationError(
            f"{state.name!r} is not a rehearsal, so nothing was dropped. Use the migration_id of the rehearsal.",
            "not_a_rehearsal",
        )
    copied = removal.copy_of(state)
    if copied is not None:
        # The method physical makes nothing in the target's server.
        there = removal.remove(copied, write=False)
        return {"database": None, "roles": [], "copy": str(copied.incoming) if there else None}
    with Session(settings.maintenance) as session:
        identity = server_identity(session)
        found = find_database(session, name)
        if found is not None:
            _check_ours(state, identity, found)
            _check_unused(session, name)
        left = [] if _migration_restores(state) else _left_roles(session, state, identity)
    return {"database": None if found is None else name, "roles": left, "copy": None}


def _check_ours(state: Path, identity: str, found: DatabaseProperties) -> None:
    """Raise MigrationError ``not_ours`` unless name, oid and server are those that the rehearsal's restore recorded."""
    intent = {"identity": identity, "name": found["name"]}
    if read_json(state / target_database.INTENT) != intent or restored_oid(state, identity) != found["oid"]:
        raise MigrationError(
            f"The target's database {found['name']!r} was not created by the rehearsal {state.name}, so it was not dropped. "
            f"{freeing_name(found['name'])}",
            "not_ours",
            database=found["name"],
        )


def _check_unused(session: Session, name: str) -> None:
    connected = other_sessions(session, name)
    if connected:
        raise MigrationError(
            f"The copy {name!r} is used by {users(connected)}, so it was not dropped. {ending(name, connected)} Then run again. "
            "To keep the copy, set couch2pg_rehearsal_keep to true.",
            "database_in_use",
            sessions=connected,
        )


def _migration_restores(state: Path) -> bool:
    """Whether the migration itself is restoring here now, and may need the roles."""
    migration = restart.rehearses(state.name) or ""
    return job.read_state(state.parent / migration / "jobs" / "restore").status == "running"


def _left_roles(session: Session, state: Path, identity: str) -> list[str]:
    """The roles that the rehearsal created. One that can log in is left out, unless the handover gave it its login and it is not used."""
    given = set(restore_roles.given_logins(state, identity))
    there = roles(session, given.union(_made_roles(state, identity)))
    return [
        role["name"]
        for role in there
        if not role["login"] or (role["name"] in given and not session.value(_CONNECTED, [role["name"]]))
    ]


def _made_roles(state: Path, identity: str) -> list[str]:
    stored = read_json(state / STEPS_FILE)
    if not isinstance(stored, dict) or (stored.get("of") or {}).get("server_identity") != identity:
        return []
    return [str(name) for name in (stored.get("done") or {}).get("roles") or []]


def drop(settings: ConnectionSettings, state: Path, planned: Copy) -> Copy:
    """Drop what ``plan`` returned; returns what was dropped. Roles that other objects depend on are kept."""
    copied = removal.copy_of(state)
    if copied is not None:
        removal.remove(copied)
        return planned
    dropped = []
    with Session(settings.maintenance) as session:
        if planned["database"] is not None:
            drop_database(session, planned["database"])
        for role in planned["roles"]:
            try:
                session.execute(f"DROP ROLE {quote(role)}")
            except MigrationError as error:
                if error.details.get("sqlstate") != "2BP01":
                    raise
                continue
            dropped.append(role)
    return {**planned, "roles": dropped}
