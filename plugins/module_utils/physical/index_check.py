# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage that the source's indexes have already comes with the copy, and the digests of rows don't see it: amcheck does.

An operating system that was upgraded under a server leaves such indexes: their text is in an order that is not the server's any more.
"""

from __future__ import annotations

from typing import Any, Callable

from ..common.errors import MigrationError
from ..postgres.connection import Session
from .private_server import PrivateServer

_AVAILABLE = "SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'"
_INSTALLED = """
SELECT pg_catalog.quote_ident(n.nspname) AS schema
FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'amcheck'
"""
_DATABASES = (
    "SELECT datname AS name FROM pg_catalog.pg_database WHERE datallowconn AND datname <> 'template0' ORDER BY 1"
)
_INDEXES = """
SELECT i.indexrelid::bigint AS oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS index,
       pg_catalog.pg_relation_size(c.oid) AS bytes
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid AND c.relkind = 'i' AND c.relpersistence = 'p'
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_catalog.pg_am AS a ON a.oid = c.relam AND a.amname = 'btree'
WHERE i.indisvalid AND i.indisready AND i.indexrelid >= 16384 ORDER BY 3 DESC, 2
"""
# data_corrupted, index_corrupted
_DAMAGE = ("XX001", "XX002")


def rebuild_damaged(
    server: PrivateServer, done: list[str], on_index: Callable[[str, int], None], log: Callable[[str], None]
) -> list[str]:
    """Rebuild the btree indexes of every database whose entries are in a wrong order; returns their names.

    done: indexes that were rebuilt just now, which are not checked. on_index: told each index that was checked, with its bytes.
    Without amcheck on this host nothing is checked. It is not in the copy afterwards. Raises MigrationError.
    """
    with Session(server.connection("postgres")) as session:
        if not session.rows(_AVAILABLE):
            log("The extension amcheck is not on this host, so the indexes are not checked.")
            return []
        names = [row["name"] for row in session.rows(_DATABASES)]
    rebuilt = []
    for name in names:
        with Session(server.connection(name)) as session:
            for row in _damaged(session, name, done, on_index):
                log(f"{name}: {row['index']} is damaged, as on the source, and is rebuilt: {row['reason']}")
                session.execute(f"REINDEX INDEX {row['index']}")
                rebuilt.append(f"{name}: {row['index']}")
    return rebuilt


def _damaged(
    session: Session, name: str, done: list[str], on_index: Callable[[str, int], None]
) -> list[dict[str, Any]]:
    """The damaged indexes of the session's database, each with its reason."""
    indexes = [row for row in session.rows(_INDEXES) if f"{name}: {row['index']}" not in done]
    found = []
    session.execute("BEGIN")
    try:
        if not session.rows(_INSTALLED):
            session.execute("CREATE SCHEMA couch2pg_amcheck; CREATE EXTENSION amcheck SCHEMA couch2pg_amcheck")
        schema = session.value(_INSTALLED)
        for row in indexes:
            session.execute("SAVEPOINT one")
            try:
                session.execute(f"SELECT {schema}.bt_index_check({row['oid']})")
            except MigrationError as error:
                session.execute("ROLLBACK TO one")
                if error.details.get("sqlstate") not in _DAMAGE:
                    raise
                found.append({**row, "reason": error.message})
            session.execute("RELEASE one")
            on_index(f"{name}: {row['index']}", row["bytes"])
    finally:
        session.execute("ROLLBACK")
    return found
