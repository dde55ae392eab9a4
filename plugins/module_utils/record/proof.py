# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the record describes this server: the verified database exists here under its real name."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, TypedDict

from ..common import restart
from ..common.errors import MigrationError
from ..postgres.connection import ConnectionSettings
from ..postgres.database import renamed
from ..postgres.session import Session, running_server, server_identity
from . import permission
from .by_phase import results
from .document import Record
from .permission import Need
from .promoted import already_promoted

NEEDS: dict[str, Need] = {
    need.__name__: need
    for need in (
        permission.verified,
        permission.promoted,
        permission.healthy,
        permission.couch2pg_moved,
        permission.healthy_where_moved,
        permission.dashboards_same,
        permission.cut_over,
        permission.not_rolled_back,
    )
}


class Source(TypedDict):
    """Where the dump was made: host, server and oid of the database, and the folder of the archive; None or empty without a dump."""

    host: str
    identity: str | None
    oid: int | None
    archive: str


class Target(TypedDict):
    """Where the database was promoted, and the transferred archive; None or empty without that.

    kept_as: the new name of the database that had the name before. running: the result of ``postgres.session.running_server``, empty
    unless the database is promoted there.
    """

    host: str
    archive: str
    identity: str | None
    oid: int | None
    name: str | None
    kept_as: str | None
    running: str


class Proof(TypedDict):
    """What later phases use of the record. rolled_back: the result of that phase; cleanup: what each of its steps did."""

    database: str
    source: Source
    target: Target
    manifest_sha256: str
    handed_over: bool
    rolled_back: Mapping[str, object] | None
    cleanup: Mapping[str, object]


def check(settings: ConnectionSettings, state: Path, record: Record | None, needs: list[str]) -> Proof:
    """A summary of the record for later phases, after checking ``needs`` and that the promoted database is still there.

    Raises MigrationError ``record_missing``, ``record_altered``, ``not_permitted`` or ``stale_evidence``.
    """
    known = permission.require(record, state, *(NEEDS[name] for name in needs))
    phases, done = known["phases"], results(known)
    promoted, dump, moved = done.get("promote"), done.get("dump"), done.get("transfer")
    rolled_back = permission.done(known, "rollback")
    running = ""
    if promoted is not None and rolled_back is None:
        check_promoted(settings, state, known)
        with Session(settings.maintenance) as session:
            running = running_server(session)
    return {
        "database": known["database"],
        "source": {
            "host": phases["dump"]["host"] if dump else "",
            "identity": dump.get("server_identity") if dump else None,
            "oid": dump.get("database_oid") if dump else None,
            "archive": dump.get("archive", "") if dump else "",
        },
        "target": {
            "host": phases["promote"]["host"] if promoted else "",
            "archive": moved.get("archive", "") if moved else "",
            "identity": promoted.get("identity") if promoted else None,
            "oid": promoted.get("oid") if promoted else None,
            "name": promoted.get("name") if promoted else None,
            "kept_as": promoted.get("kept_as") if promoted else None,
            "running": running,
        },
        "manifest_sha256": dump.get("manifest_sha256", "") if dump else "",
        "handed_over": permission.done(known, "handover") is not None,
        "rolled_back": rolled_back,
        "cleanup": permission.done(known, "cleanup") or {},
    }


def check_promoted(settings: ConnectionSettings, state: Path, record: Record) -> None:
    """Raise MigrationError ``stale_evidence`` unless the verified database has its real name on this server."""
    promoted = record["phases"]["promote"]["result"]
    stored = already_promoted(settings, state, promoted["name"])
    if stored is None or any(stored[field] != promoted[field] for field in ("identity", "oid")):
        with Session(settings.maintenance) as session:
            here = server_identity(session) == promoted["identity"]
            where = f" {renamed(session, promoted['oid'], promoted['name'])}" if here else ""
        raise MigrationError(
            f"The database {promoted['name']!r} at {settings.place} is not the one that this migration verified "
            f"(oid {promoted['oid']} on server {promoted['identity']}). Nothing was changed. "
            f"Check couch2pg_migration_id and the inventory.{where} If the database was replaced, migrate again under another name: "
            f"{restart.migrate_as(state.name)}",
            "stale_evidence",
            promoted=promoted,
        )
