# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find indexes that are damaged on the source, and so in the copy, with amcheck: digests of rows don't show such damage.

An upgrade of the operating system can cause it: the text in an index is then no longer in the server's order.
"""

from __future__ import annotations

import threading
from typing import Callable, NamedTuple

from ..common.errors import MigrationError
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session
from ..postgres.workers import run_in_sessions
from .private_server import PrivateServer

# As the extension defines it, but in the session's temporary schema: nothing is installed, and each worker has its own function.
_FUNCTION = """
CREATE FUNCTION pg_temp.bt_index_check(regclass) RETURNS void LANGUAGE c STRICT AS '$libdir/amcheck', 'bt_index_check'
"""
_DATABASES = (
    "SELECT datname AS name FROM pg_catalog.pg_database WHERE datallowconn AND datname <> 'template0' ORDER BY 1"
)
_INDEXES = """
SELECT i.indexrelid::bigint AS oid, pg_catalog.format('%s: %I.%I', pg_catalog.current_database(), n.nspname, c.relname) AS name,
       pg_catalog.format('%I.%I', n.nspname, c.relname) AS sql, pg_catalog.pg_relation_size(c.oid) AS bytes
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid AND c.relkind = 'i' AND c.relpersistence = 'p'
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_catalog.pg_am AS a ON a.oid = c.relam AND a.amname = 'btree'
WHERE i.indisvalid AND i.indisready AND i.indexrelid >= 16384 ORDER BY 4 DESC, 2
"""
# data_corrupted, index_corrupted; undefined_file
_DAMAGE, _NO_LIBRARY = ("XX001", "XX002"), "58P01"


class _Index(NamedTuple):
    """An index. name: with its database; sql: its name in a statement."""

    oid: int
    name: str
    sql: str
    bytes: int


def rebuild_damaged(
    server: PrivateServer,
    jobs: int,
    sound: list[str],
    rebuilt: list[str],
    on_index: Callable[[str, int], None],
    log: Callable[[str], None],
) -> None:
    """Rebuild the btree indexes of every database whose entries are in a wrong order.

    jobs: workers, each checks one index at a time, the largest first. sound: names of indexes that an earlier check found sound; more
    are added. rebuilt: names of indexes that were rebuilt and need no check; more are added. on_index: called with each sound index and
    its bytes. Without amcheck on this host nothing is checked. Raises MigrationError.
    """
    with Session(server.connection("postgres")) as session:
        if not _is_here(session):
            log(
                "The extension amcheck (package postgresql-contrib) is not on this host, so the indexes are not checked."
            )
            return
        names = [row["name"] for row in session.rows(_DATABASES)]
    for name in names:
        settings = server.connection(name)
        with Session(settings) as session:
            known = {*sound, *rebuilt}
            indexes = [index for index in (_Index(**row) for row in session.rows(_INDEXES)) if index.name not in known]
            for index, reason in zip(indexes, _check(settings, jobs, indexes, sound, on_index)):
                if reason:
                    log(f"{index.name} is damaged, as on the source, and is rebuilt: {reason}")
                    session.execute(f"REINDEX INDEX {index.sql}")
                    rebuilt.append(index.name)


def _is_here(session: Session) -> bool:
    """Whether this host has the library. pg_available_extensions is not used, because one unreadable control file makes it fail."""
    session.execute("BEGIN")
    try:
        session.execute(_FUNCTION)
    except MigrationError as error:
        if error.details.get("sqlstate") != _NO_LIBRARY:
            raise
        return False
    finally:
        session.execute("ROLLBACK")
    return True


def _check(
    settings: ConnectionSettings,
    jobs: int,
    indexes: list[_Index],
    sound: list[str],
    on_index: Callable[[str, int], None],
) -> list[str]:
    """What is wrong with each index; empty for a sound one."""
    lock = threading.Lock()

    def prepared() -> Session:
        session = Session(settings)
        # Never committed, so that the function and the temporary schema disappear with the session.
        session.execute("BEGIN")
        session.execute(_FUNCTION)
        return session

    def work(session: Session, index: _Index) -> str:
        session.execute("SAVEPOINT one")
        try:
            session.execute(f"SELECT pg_temp.bt_index_check({index.oid})")
        except MigrationError as error:
            if error.details.get("sqlstate") not in _DAMAGE:
                raise
            session.execute("ROLLBACK TO one")
            return error.message
        session.execute("RELEASE one")
        with lock:
            sound.append(index.name)
            on_index(index.name, index.bytes)
        return ""

    return run_in_sessions(indexes, jobs, prepared, work)
