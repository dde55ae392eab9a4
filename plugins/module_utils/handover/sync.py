# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg as it is at this moment: asked of CouchDB and PostgreSQL in its own name, not of any record."""

from __future__ import annotations

import time
from typing import Any, Callable

from ..couch2pg import access as couch2pg_access
from ..couch2pg import checkpoint, couchdb_sync
from ..couch2pg.couchdb_sync import Sync
from ..couch2pg.settings import Settings
from ..couchdb.client import CouchDB
from ..postgres.connection import ConnectionSettings, Session, server_identity
from ..postgres.database import current_oid

PAUSE_SECONDS = 2.0
_UNPOPULATED = """
SELECT n.nspname || '.' || c.relname AS name
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY 1
"""


def look(
    settings: Settings,
    database: ConnectionSettings,
    client: CouchDB,
    most_behind: int,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Its places against what CouchDB has now; one that is behind has ``timeout`` seconds to come up to that."""
    sync = _wait(settings, database, client, most_behind, clock() + timeout, clock, sleep)
    with Session(database) as session:
        unpopulated = [row["name"] for row in session.rows(_UNPOPULATED)]
        where = {"identity": server_identity(session), "oid": current_oid(session), "name": database.database}
    behind = _behind(sync)
    problems = []
    if behind > most_behind:
        problems.append(
            f"it is behind CouchDB by {behind} changes ({couchdb_sync.describe(sync)}). See its log; run again when it has caught up, "
            "such as just after one of its runs, or say how many changes may be missing (couch2pg_most_behind)"
        )
    if unpopulated:
        problems.append(f"materialized views are not populated: {', '.join(unpopulated[:5])}. Refresh them")
    return {
        "sync": [entry.as_dict() for entry in sync],
        "behind": behind,
        "unpopulated": unpopulated,
        "database": where,
        "problems": problems,
    }


def same_database(found: dict[str, Any], identity: str, oid: int) -> bool:
    """Whether couch2pg feeds this database.

    Where a managed service hides the identifier from a role, a place stands for it, which each host may name differently.
    """
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
            places = checkpoint.match(checkpoint.stored(session), followed)
        sync = couchdb_sync.settle(client, couchdb_sync.compare(places, marks))
        if _behind(sync) <= most_behind or clock() >= deadline:
            return sync
        sleep(PAUSE_SECONDS)


def _behind(sync: list[Sync]) -> int:
    return sum(int(entry.as_dict()["behind"]) for entry in sync)
