# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold one snapshot of the source with locks on every table, for the duration of the dump."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Iterator

from ..common.errors import MigrationError
from ..postgres.connection import ConnectionSettings
from ..postgres.relations import Table, Tables, check_readable, list_tables
from ..postgres.session import LOCK_SECONDS, Session

ATTEMPTS = 5
NAMES_PER_LOCK = 200
# A long limit, because an index of a readable table may be under REINDEX, and such a wait ends without help.
READER_SECONDS = 600
# invalid_parameter_value (the snapshot's file is gone), undefined_object (from PostgreSQL 17), object_not_in_prerequisite_state (the
# snapshot's session has just ended)
_NO_SNAPSHOT = ("22023", "42704", "55000")


class HeldSnapshot:
    """A read-only transaction that holds ACCESS SHARE on every table and exports its snapshot.

    The locks come before the snapshot, so no table can change its shape or be truncated after the moment that
    the snapshot shows. Other sessions read and write as before; only DDL waits.
    """

    def __init__(self, settings: ConnectionSettings, held: str = "") -> None:
        """Take a snapshot, or use that of another session: ``held`` is its identifier.

        Raises MigrationError ``snapshot_lost`` when that session has ended.
        """
        self.session = Session(settings, LOCK_SECONDS)
        self.tables, self.identifier = self._attach(held) if held else self._open()
        self._turn = threading.Lock()

    def __enter__(self) -> HeldSnapshot:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.session.close()

    def _open(self) -> tuple[Tables, str]:
        for _attempt in range(ATTEMPTS):
            expected = list_tables(self.session)
            check_readable(self.session)
            self.session.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            try:
                self._lock(expected)
            except MigrationError as error:
                if error.details.get("sqlstate") != "42P01":
                    raise
                # The table was dropped after it was listed.
                self.session.execute("ROLLBACK")
                continue
            found = list_tables(self.session)
            if {table.oid for table in found.kept} <= {table.oid for table in expected.kept}:
                return found, str(self.session.value("SELECT pg_catalog.pg_export_snapshot()"))
            # A table was created after the list was read.
            self.session.execute("ROLLBACK")
        raise MigrationError(
            f"A program creates or drops tables of {self.session.settings.database!r} faster than they can be locked. "
            "Wait until it has ended, then run again.",
            "tables_change",
        )

    def _attach(self, held: str) -> tuple[Tables, str]:
        """Use the snapshot ``held``. Its session holds locks, so no table has changed its shape; this one takes them in case it ends."""
        begin_in(self.session, held)
        tables = list_tables(self.session)
        check_readable(self.session)
        self._lock(tables)
        return tables, held

    def _lock(self, tables: Tables) -> None:
        names = [table.sql for table in tables.kept]
        for start in range(0, len(names), NAMES_PER_LOCK):
            some = ", ".join(f"ONLY {name}" for name in names[start : start + NAMES_PER_LOCK])
            self.session.execute(f"LOCK TABLE {some} IN ACCESS SHARE MODE")

    @property
    def own_encoding(self) -> str:
        """The database's own encoding."""
        return str(self.session.value("SELECT pg_catalog.current_setting('server_encoding')"))

    @property
    def encoding(self) -> str:
        """The encoding of the archive: the database's own; UTF8 for SQL_ASCII, so that the server checks the texts."""
        own = self.own_encoding
        return "UTF8" if own == "SQL_ASCII" else own

    def reader(self) -> Session:
        """A session for ``reading``."""
        return Session(self.session.settings, READER_SECONDS)

    @contextmanager
    def reading(self, reader: Session, table: Table) -> Iterator[Session]:
        """A session that sees the snapshot and reads ``table`` without a wait: ``reader``, in a transaction of its own.

        When another session waits to TRUNCATE or ALTER the table, ``reader`` would queue behind that session, which waits
        for this snapshot. Then the snapshot's own session reads the table, because it holds the lock already.
        """
        begin_in(reader, self.identifier)
        try:
            reader.execute(f"LOCK TABLE ONLY {table.sql} IN ACCESS SHARE MODE NOWAIT")
        except MigrationError as error:
            if error.code != "locked":
                raise
            reader.execute("ROLLBACK")
            with self._turn:
                yield self.session
        else:
            yield reader
            reader.execute("COMMIT")

    def check_alive(self) -> None:
        """Raise MigrationError ``connection_lost`` when the transaction was lost, for example by a restart of the server."""
        self.session.value("SELECT 1")


def open_reader(settings: ConnectionSettings, snapshot: str) -> Session:
    """Open a session with a transaction that uses ``snapshot``."""
    session = Session(settings, READER_SECONDS)
    begin_in(session, snapshot)
    return session


def begin_in(session: Session, snapshot: str) -> None:
    """Begin a transaction that uses ``snapshot``. Raises MigrationError ``snapshot_lost`` when no session holds it any more."""
    session.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    # SET TRANSACTION SNAPSHOT takes only a constant. The server generated it, from hex digits and dashes.
    try:
        session.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
    except MigrationError as error:
        if error.details.get("sqlstate") not in _NO_SNAPSHOT:
            raise
        raise MigrationError(
            f"The snapshot {snapshot} of {session.settings.database!r} at {session.settings.place} is lost: the session that held it "
            "has ended. Run again: the rows are then copied from the beginning, from a new snapshot.",
            "snapshot_lost",
            snapshot=snapshot,
        ) from error
