# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CouchDB as couch2pg will find it: each followed database, and all that is wrong, not only the first of it."""

from __future__ import annotations

from typing import Any, Sequence

from ..common.errors import MigrationError
from . import access as couch2pg_access
from . import node_trust
from .settings import Settings

# What is wrong with a database; all else is wrong with the server.
_OF_DATABASE = ("couchdb_no_database", "couchdb_unauthorized")


def look(settings: Settings, ca_cert: str = "", server: str = "", node: Sequence[str] = ()) -> dict[str, Any]:
    """The report. ``node`` is the command that runs couch2pg's Node.js, which is not asked when it is empty.

    Raises MigrationError for settings, or a file of certificates, that can't be used.
    """
    client = couch2pg_access.couchdb(settings, ca_cert, server)
    databases: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    for entry in couch2pg_access.followed(settings):
        found: dict[str, Any] = {"database": entry.database, "key": entry.key}
        databases.append(dict(found, exists=None, update_seq=None, documents=None))
        if any(problem["database"] is None for problem in problems):
            # A server that is away is not asked, and waited for, five times.
            continue
        try:
            state = client.state(entry.database)
        except MigrationError as error:
            problems.append(_problem(error, entry.database if error.code in _OF_DATABASE else None))
            if error.code == "couchdb_no_database":
                databases[-1]["exists"] = False
        else:
            databases[-1].update(exists=True, update_seq=state.update_seq, documents=state.documents)
    trusted = _node_trusts(settings, node, problems)
    empty = [entry["database"] for entry in databases if entry["documents"] == 0]
    return {
        "server": settings.couchdb.server,
        "databases": databases,
        "marks": {entry["key"]: entry["update_seq"] for entry in databases if entry["exists"]},
        "node_trusts": trusted,
        "problems": problems,
        "notices": [f"COUCHDB_URL: {problem}" for problem in settings.couchdb.problems]
        + ([f"CouchDB has no document in {', '.join(empty)}. See that COUCHDB_URL is spelt rightly."] if empty else []),
    }


def _node_trusts(settings: Settings, node: Sequence[str], problems: list[dict[str, Any]]) -> bool | None:
    if not node:
        return None
    try:
        node_trust.check(node, settings.couchdb, settings.variables)
    except MigrationError as error:
        problems.append(_problem(error, None))
        return False if error.code == "node_trust" else None
    return True


def _problem(error: MigrationError, database: str | None) -> dict[str, Any]:
    return {"code": error.code, "database": database, "message": error.message}
