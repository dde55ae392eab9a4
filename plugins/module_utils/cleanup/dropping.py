# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop the source's database: only the one that was dumped, and only without unexpected sessions.

The database is closed for connections, renamed to ``<name>_dropping_<time>``, then dropped. Before the drop, this can be
undone. The next run resumes a run that was killed in between.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Sequence, TypedDict, cast

from ..common.errors import MigrationError
from ..common.evidence_document import DatabaseProperties
from ..host.files import make_private_folder, read_json, write_json
from ..postgres.connection import ConnectionSettings
from ..postgres.database import (
    OtherSession,
    database_size,
    end_sessions,
    ending,
    find_database,
    find_database_by_oid,
    other_sessions,
    renamed,
    users,
)
from ..postgres.database_removal import drop_database, is_half_dropped
from ..postgres.identifiers import quote, with_suffix
from ..postgres.session import Session, running_server, server_identity
from ..record.dropped import DROPPED, StoredDrop


class UsedBy(TypedDict):
    """A session that is connected to the database."""

    role: str
    application_name: str


class Plan(TypedDict):
    """The database to drop, by its present name, and the sessions that will be ended.

    begun: whether an earlier drop was interrupted. partly: whether that was while the server removed its files, so that it can't be read.
    """

    name: str
    oid: int
    identity: str
    begun: bool
    partly: bool
    bytes: int
    sessions: list[UsedBy]


class Dropped(TypedDict):
    """The database that was dropped, and the sessions that were ended."""

    dropped: str
    oid: int
    identity: str
    bytes: int
    sessions: list[UsedBy]


def already_dropped(settings: ConnectionSettings, state: Path, oid: int) -> StoredDrop | None:
    """The stored drop of this migration; None when the database still exists under any name."""
    stored = read_json(state / DROPPED)
    if not isinstance(stored, dict) or stored.get("oid") != oid:
        return None
    with Session(settings.maintenance) as session:
        if stored["identity"] != server_identity(session) or find_database_by_oid(session, oid) is not None:
            return None
    return cast("StoredDrop", stored)


def plan(
    settings: ConnectionSettings, state: Path, identity: str, oid: int, allowed: Sequence[str], not_server: str = ""
) -> Plan:
    """The database to drop, and the sessions that will be ended.

    identity, oid: the server and the database that were dumped, from the record. allowed: roles or application names whose
    sessions may be ended. not_server: the running server of the target, which may be a copy with the same identity and oid.
    Raises MigrationError ``stale_evidence``, ``database_in_use`` or ``not_droppable``.
    """
    with Session(settings.maintenance) as session:
        if not_server and running_server(session) == not_server:
            raise MigrationError(
                f"The address {settings.place} belongs to the target's server, not to the source's. Nothing was changed. "
                "Check couch2pg_login_host, couch2pg_login_port and the address of the source in the inventory.",
                "stale_evidence",
            )
        here = server_identity(session)
        found = find_database_by_oid(session, oid) if here == identity else None
        names = (settings.database, (read_json(state / DROPPED) or {}).get("name"))
        if found is None or found["name"] not in names:
            where = ""
            if found is not None and find_database(session, settings.database) is None:
                # Only if no other database has the name. Otherwise the name in the inventory is probably wrong.
                where = f" {renamed(session, oid, settings.database)}"
            raise MigrationError(
                f"The database {settings.database!r} at {settings.place} is not the one that was dumped (oid {oid} on server "
                f"{identity}). Nothing was changed. Check couch2pg_migration_id and the inventory.{where}",
                "stale_evidence",
                identity=here,
            )
        sessions = other_sessions(session, found["name"])
        _check_sessions(found["name"], sessions, allowed)
        _check_droppable(session, found)
        return {
            "name": found["name"],
            "oid": oid,
            "identity": identity,
            "begun": found["name"] != settings.database or not found["allow_connections"],
            "partly": is_half_dropped(session, found["name"]),
            "bytes": database_size(session, found["name"]),
            "sessions": [{"role": row["role"], "application_name": row["application_name"]} for row in sessions],
        }


def drop(
    settings: ConnectionSettings,
    state: Path,
    planned: Plan,
    allowed: Sequence[str],
    clock: Callable[[], float] = time.time,
) -> Dropped:
    """Drop the planned database. If that fails before the server begins the drop, the database gets its name and connections back."""
    with Session(settings.maintenance) as session:
        name = planned["name"]
        last = _last_name(settings.database, name, clock)
        make_private_folder(state)
        # Record it before the drop. After an interruption, the oid shows whether it happened.
        intent: StoredDrop = {"oid": planned["oid"], "identity": planned["identity"], "name": last}
        write_json(state / DROPPED, intent)
        try:
            if not is_half_dropped(session, name):
                session.execute(f"ALTER DATABASE {quote(name)} WITH ALLOW_CONNECTIONS false")
            _check_sessions(name, other_sessions(session, name), allowed)
            end_sessions(session, name)
            if name != last:
                session.execute(f"ALTER DATABASE {quote(name)} RENAME TO {quote(last)}")
            there = find_database(session, last)
            if there is None or there["oid"] != planned["oid"]:
                raise MigrationError(
                    f"{last!r} is not the database that was checked. Nothing was dropped. Run again, which checks it again.",
                    "stale_evidence",
                )
            drop_database(session, last)
        except BaseException as error:
            # If the server was interrupted during the drop, files may be gone: the next run drops the rest.
            if getattr(error, "code", "") != "server_stuck":
                _reopen(session, planned["oid"], settings.database)
            raise
    return {
        "dropped": settings.database,
        "oid": planned["oid"],
        "identity": planned["identity"],
        "bytes": planned["bytes"],
        "sessions": planned["sessions"],
    }


def reopen(settings: ConnectionSettings, oid: int) -> None:
    """Undo an interrupted drop: rename the database back and allow connections."""
    with Session(settings.maintenance) as session:
        _reopen(session, oid, settings.database)


def _last_name(database: str, name: str, clock: Callable[[], float]) -> str:
    """The temporary name for the drop; that of an earlier attempt is kept."""
    if name != database:
        return name
    return with_suffix(database, f"_dropping_{time.strftime('%Y%m%dT%H%M%S', time.gmtime(clock()))}")


def _reopen(session: Session, oid: int, database: str) -> None:
    # Suppress errors, so that the original error is reported.
    with suppress(MigrationError):
        found = find_database_by_oid(session, oid)
        if found is None or is_half_dropped(session, found["name"]):
            return
        if found["name"] != database:
            session.execute(f"ALTER DATABASE {quote(found['name'])} RENAME TO {quote(database)}")
        session.execute(f"ALTER DATABASE {quote(database)} WITH ALLOW_CONNECTIONS true")


def _check_sessions(name: str, sessions: list[OtherSession], allowed: Sequence[str]) -> None:
    """Raise MigrationError ``database_in_use`` for sessions that are not ``allowed``, and for prepared transactions, which nothing ends."""
    unexpected = [
        row
        for row in sessions
        if row["gid"] is not None or (row["role"] not in allowed and row["application_name"] not in allowed)
    ]
    if unexpected:
        raise MigrationError(
            f"The database {name!r} is still used by {users(unexpected)}. Nothing was changed. {ending(name, unexpected)} Or add the role "
            "or application name of sessions that this step shall end to couch2pg_cleanup_allowed_sessions. Then run again.",
            "database_in_use",
            sessions=unexpected,
        )


def _check_droppable(session: Session, found: DatabaseProperties) -> None:
    """Raise MigrationError ``not_droppable`` for what PostgreSQL would refuse only after the database is closed."""
    name = found["name"]
    remedies = [f"ALTER DATABASE {quote(name)} IS_TEMPLATE false;"] if found["is_template"] else []
    subscriptions = session.rows(
        "SELECT subname AS name FROM pg_catalog.pg_subscription WHERE subdbid = %s ORDER BY 1", [found["oid"]]
    )
    for row in subscriptions:
        # The subscription is dropped without its slot, because the slot's server may be gone. There, the slot is dropped by hand.
        sub = f"SUBSCRIPTION {quote(row['name'])}"
        remedies.append(f"ALTER {sub} DISABLE; ALTER {sub} SET (slot_name = NONE); DROP {sub};")
    if remedies:
        raise MigrationError(
            f"The database {name!r} can't be dropped, because it is a template or has subscriptions. Nothing was changed. In that "
            f"database, as a superuser: {' '.join(remedies)}",
            "not_droppable",
        )
