# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether couch2pg is up to date with CouchDB at this moment, asked with couch2pg's own settings and role."""

from __future__ import annotations

import time
from typing import Callable, TypedDict

from ..common.counted import counted
from ..couch2pg import access as couch2pg_access
from ..couch2pg import checkpoint, couchdb_sync
from ..couch2pg.couchdb_sync import ShownSync, Sync
from ..couch2pg.settings import Settings
from ..couchdb.client import CouchDB
from ..postgres.connection import ConnectionSettings
from ..postgres.database import current_oid
from ..postgres.matview_graph import statements_that_populate
from ..postgres.session import Session, running_server, server_identity

PAUSE_SECONDS = 2.0
_UNPOPULATED = """
SELECT n.nspname || '.' || c.relname AS name
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY 1
"""


class Database(TypedDict):
    """The database that couch2pg writes to: its server's system identifier (or address), its oid and its name.

    running: identifies the running server, which a copy with the same identifier and oid does not share.
    """

    identity: str
    running: str
    oid: int
    name: str


class SyncState(TypedDict):
    """Each followed database, the number of changes that PostgreSQL lacks, and why couch2pg is not up to date."""

    sync: list[ShownSync]
    behind: int
    unpopulated: list[str]
    database: Database
    not_current: list[str]


def look(
    settings: Settings,
    reach: couch2pg_access.Reach,
    most_behind: int,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> SyncState:
    """Compare couch2pg's checkpoints with what CouchDB has now. A couch2pg that is behind has ``timeout`` seconds to catch up."""
    database, client = couch2pg_access.connection(reach.postgres(settings)), reach.couchdb(settings)
    sync = _wait(settings, database, client, most_behind, clock() + timeout, clock, sleep)
    with Session(database) as session:
        unpopulated = [row["name"] for row in session.rows(_UNPOPULATED)]
        statements = statements_that_populate(session) if unpopulated else []
        where: Database = {
            "identity": server_identity(session),
            "running": running_server(session),
            "oid": current_oid(session),
            "name": database.database,
        }
    behind = _behind(sync)
    reasons = []
    if behind > most_behind:
        reasons.append(
            f"it is behind CouchDB by {counted(behind, 'change')} ({couchdb_sync.describe(sync)}). Read its log, and run again when it "
            "has caught "
            "up, such as just after one of its runs; or set couch2pg_most_behind to the number of changes that may be missing"
        )
    if unpopulated:
        reasons.append(
            f"materialized views are not populated: {', '.join(unpopulated[:5])}. In the database {database.database} at "
            f"{database.place}, as their owner or a superuser: {' '.join(statements)}"
        )
    return {
        "sync": [entry.as_dict() for entry in sync],
        "behind": behind,
        "unpopulated": unpopulated,
        "database": where,
        "not_current": reasons,
    }


def same_database(found: Database, identity: str, oid: int, server: str = "", not_server: str = "") -> bool:
    """Whether couch2pg writes to the database with this server identifier and oid.

    server, not_server: the running server that it must be, or must not be; the method physical copies identifier and oid.
    A managed service may hide the identifier. Then ``identity`` is an address, which can differ between hosts: only the oid counts.
    """
    if (server and found["running"] != server) or (not_server and found["running"] == not_server):
        return False
    known = found["identity"].isdigit() and identity.isdigit()
    return bool(found["oid"] == oid and (not known or found["identity"] == identity))


def _wait(
    settings: Settings,
    database: ConnectionSettings,
    client: CouchDB,
    most_behind: int,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[Sync]:
    followed = couch2pg_access.followed(settings)
    marks = {key: state.update_seq for key, state in couchdb_sync.take_marks(client, followed).items()}
    while True:
        with Session(database) as session:
            found = checkpoint.match(checkpoint.stored(session), followed)
        sync = couchdb_sync.settle(client, couchdb_sync.compare(found, marks))
        if _behind(sync) <= most_behind or clock() >= deadline:
            return sync
        sleep(PAUSE_SECONDS)


def _behind(sync: list[Sync]) -> int:
    return sum(entry.as_dict()["behind"] for entry in sync)
