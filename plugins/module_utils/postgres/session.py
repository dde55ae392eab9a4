# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions whose results don't depend on the settings of the server, the database or the role."""

from __future__ import annotations

import re
import threading
import traceback
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Iterator, Mapping, NamedTuple, Protocol, Sequence

from ..common.errors import MigrationError
from . import connection_errors, locks, login_refusal, session_settings
from .connection import APPLICATION_NAME, ConnectionSettings
from .lock_watch import LockWatch

if TYPE_CHECKING:
    from types import TracebackType

try:
    import psycopg2
    import psycopg2.extensions
except ImportError:
    PSYCOPG2_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    PSYCOPG2_IMPORT_ERROR = None
    _UNANSWERED = (psycopg2.OperationalError, psycopg2.InterfaceError)

# The longest lock wait of a statement in a short call, which has no progress that would show the wait.
SHORT_LOCK_SECONDS = 15
# The longest lock wait of sessions that take the locks for a long operation.
LOCK_SECONDS = 60
LOCK_NOT_AVAILABLE = "55P03"
COPY_BYTES = 1 << 18
# A login event trigger (from PostgreSQL 17 on) fires before the session's first statement, so only a connection option can prevent it.
# Every version has this setting.
_NO_LOGIN_TRIGGERS = "-c session_replication_role=replica"
# psycopg2 chooses its way of quoting strings by the settings at connection time. A short statement_timeout would end the first statement.
_PLAIN = "-c standard_conforming_strings=on -c statement_timeout=0"
# In these sessions, RESET sets these to the values of the connection options, not to those that a login gets.
SET_AT_START = ("session_replication_role", "standard_conforming_strings", "statement_timeout")
_OPTIONS = (f"{_NO_LOGIN_TRIGGERS} {_PLAIN}", _PLAIN)
# How many of _OPTIONS were refused, by host, port and user. The role may not set the first one, or a pooler refuses all options.
_refused: dict[tuple[Any, ...], int] = {}


def _connect(parameters: Mapping[str, Any]) -> Any:
    """Connect without firing login event triggers, if the role may do that. ``pin`` sets session_replication_role to origin again."""
    key = tuple(parameters.get(name) for name in ("host", "port", "user"))
    for options in _OPTIONS[_refused.get(key, 0) :]:
        try:
            return psycopg2.connect(**parameters, options=options)
        except psycopg2.OperationalError as error:
            # Names of settings are the same in every language.
            if not any(word in str(error) for word in (*SET_AT_START, "options")):
                raise
            _refused[key] = _OPTIONS.index(options) + 1
    return psycopg2.connect(**parameters)


def psycopg2_version() -> tuple[int, ...]:
    """The version of the installed psycopg2, as (2, 9, 5)."""
    numbers = re.match(r"[\d.]+", str(getattr(psycopg2, "__version__", "")))
    return tuple(int(part) for part in numbers.group().split(".") if part) if numbers else ()


class ResultColumn(NamedTuple):
    """A column of a result: its name, which another column may have, too, and the oid of its type."""

    name: str
    type: int


class Session:
    """One autocommit connection with pinned settings; every database error becomes a MigrationError.

    A statement that has waited for a lock for ``lock_seconds`` (0: without a limit) raises MigrationError ``locked``, which names who
    holds the lock. Jobs have no limit by default, because their progress shows each wait.
    version: the server's ``server_version_num``.
    pinned: the settings of ``session_settings`` that this server has and this role may set, with their values.
    """

    # The sessions of this process that may be open.
    _all: ClassVar[weakref.WeakSet[Session]] = weakref.WeakSet()
    _all_lock = threading.Lock()
    # For sessions of this process that are opened without ``lock_seconds``.
    default_lock_seconds: ClassVar[int] = SHORT_LOCK_SECONDS

    def __init__(self, settings: ConnectionSettings, lock_seconds: int | None = None) -> None:
        self.settings = settings
        self._lock_seconds = self.default_lock_seconds if lock_seconds is None else lock_seconds
        parameters = dict(settings.libpq(), application_name=APPLICATION_NAME, client_encoding="UTF8")
        if settings.password is not None:
            parameters["password"] = settings.password
        try:
            self._connection = _connect(parameters)
        except psycopg2.OperationalError as error:
            who = self._keeps_out(str(error))
            if who:
                raise MigrationError(
                    f"Nobody can connect to {settings.database!r} at {settings.place} at this moment: {who}", "locked"
                ) from error
            raise connection_errors.of_login(
                settings, str(error), lambda: login_refusal.sqlstate(parameters)
            ) from error
        self._connection.autocommit = True
        with self._all_lock:
            self._all.add(self)
        self.version: int = self._connection.server_version
        self.pinned: dict[str, str] = {}
        self.pin()

    def pin(self) -> None:
        """Set the settings of ``session_settings``, at the start or after the session had others."""
        # With an empty search_path, unqualified names and operators are those of pg_catalog.
        self.execute("SELECT pg_catalog.set_config('search_path', '', false)")
        role = {"role": "none"} if self.rows(session_settings.NO_ROLE) else {}
        names, values = list(session_settings.PINNED), list(session_settings.PINNED.values())
        rows = self.rows(session_settings.pin_statement(self.version), [names, values])
        self.pinned = {**role, **{row["name"]: row["value"] for row in rows}}
        if self._lock_seconds:
            self.execute(f"SET lock_timeout = '{int(self._lock_seconds)}s'")

    def beside(self, database: str) -> Session:
        """Another session on this server, which waits for a lock for at most 2 s."""
        return _beside(self.settings.to(database))

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the session; an open transaction is rolled back."""
        self._connection.close()

    def cancel(self) -> None:
        """Cancel the session's running statement; may be called from another thread."""
        # Ignore errors: if the server is gone, the session's own thread gets the error.
        with suppress(psycopg2.Error):
            if not self._connection.closed:
                self._connection.cancel()

    @classmethod
    def cancel_all(cls) -> None:
        """Cancel the running statements of all sessions of this process."""
        with cls._all_lock:
            sessions = list(cls._all)
        for session in sessions:
            session.cancel()

    @property
    def address(self) -> tuple[str, int]:
        """The host, or the folder of the Unix socket, and the port that libpq has found."""
        return str(self._connection.info.host), int(self._connection.info.port)

    @property
    def backend_pid(self) -> int:
        """The backend's process id from the start of the connection."""
        return int(self._connection.get_backend_pid())

    @property
    def notices(self) -> list[str]:
        """The notices of the server."""
        return list(self._connection.notices)

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> None:
        """Run ``sql`` without returning rows."""
        for _row in self._run(sql, parameters):
            pass

    def rows(self, sql: str, parameters: Sequence[Any] | None = None) -> list[dict[str, Any]]:
        """All rows, as dicts by column name."""
        return list(self._run(sql, parameters))

    def row(self, sql: str, parameters: Sequence[Any] | None = None) -> dict[str, Any]:
        """The only row."""
        (row,) = self.rows(sql, parameters)
        return row

    def value(self, sql: str, parameters: Sequence[Any] | None = None) -> Any:
        """The only value of the only row."""
        (value,) = self.row(sql, parameters).values()
        return value

    def hashed(self, password: str, role: str, algorithm: str) -> str:
        """The password as the server stores it (``md5`` or ``scram-sha-256``), so that no statement contains it."""
        return str(psycopg2.extensions.encrypt_password(password, role, self._connection, algorithm))

    def fetch(self, sql: str) -> tuple[list[ResultColumn], list[tuple[Any, ...]]]:
        """The columns and the rows of a result."""
        try:
            with self._watched(), self._connection.cursor() as cursor:
                cursor.execute(sql)
                columns = [ResultColumn(column.name, column.type_code) for column in cursor.description]
                return columns, cursor.fetchall()
        except psycopg2.Error as error:
            raise self._failed(error) from error

    def copy_out(self, sql: str, write: Callable[[bytes], object]) -> int:
        """Run a ``COPY ... TO STDOUT`` and hand its output to ``write``, piece by piece; returns the number of rows."""
        try:
            with self._watched(), self._connection.cursor() as cursor:
                cursor.copy_expert(sql, _Sink(write))
                return int(cursor.rowcount)
        except psycopg2.Error as error:
            raise self._failed(error) from error

    def copy_in(self, sql: str, source: Readable) -> int:
        """Run a ``COPY ... FROM STDIN`` with what ``source`` returns until its end; returns the number of rows.

        An exception of ``source.read`` aborts the COPY.
        """
        try:
            with self._watched(), self._connection.cursor() as cursor:
                cursor.copy_expert(sql, source, COPY_BYTES)
                return int(cursor.rowcount)
        except psycopg2.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: psycopg2.Error) -> MigrationError:
        lost = bool(self._connection.closed) or (error.pgcode is None and isinstance(error, _UNANSWERED))
        failure = connection_errors.of_statement(self.settings, error, lost)
        if error.pgcode != LOCK_NOT_AVAILABLE or not self._lock_seconds:
            return failure
        return MigrationError(
            f"A lock in {self.settings.database!r} at {self.settings.place} was not granted within {self._lock_seconds} s: "
            f"{self._held_up or 'It is free by now: run again.'}",
            "locked",
            **failure.details,
        )

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Find out who blocks the statement that runs in this block. After a lock timeout it would be too late."""
        self._held_up = ""
        if not self._lock_seconds:
            yield
            return
        pid = self.backend_pid
        with LockWatch(self._lock_seconds, lambda: look_beside(self.settings, lambda wait: wait.pid == pid)) as watch:
            try:
                yield
            finally:
                self._held_up = watch.found

    def _keeps_out(self, reason: str) -> str:
        """Who prevents every connection to the database; empty when the login failed for another ``reason``."""
        if "timeout expired" in reason and self.settings.database != self.settings.maintenance_database:
            with suppress(MigrationError), _beside(self.settings.maintenance) as other:
                return locks.of_database(other, self.settings.database)
        return ""

    def _run(self, sql: str, parameters: Sequence[Any] | None) -> Iterator[dict[str, Any]]:
        try:
            with self._watched(), self._connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                if cursor.description is None:
                    return
                names = [column.name for column in cursor.description]
                for row in cursor:
                    yield dict(zip(names, row))
        except psycopg2.Error as error:
            raise self._failed(error) from error


class Readable(Protocol):
    """The part of a file object that COPY FROM STDIN needs."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; empty at the end."""


class _Sink:
    """The part of a file object that psycopg2 needs."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write


def _beside(settings: ConnectionSettings) -> Session:
    session = Session(settings, lock_seconds=0)
    session.execute("SET lock_timeout = '2s'")
    return session


def look_beside(settings: ConnectionSettings, which: Callable[[locks.Wait], bool]) -> str:
    """Who blocks a session of the server, with the remedy; empty when nobody does. ``which``: whether a wait counts."""
    # A locked catalog of this database may prevent every connection to it, so look from the maintenance database.
    try:
        other = _beside(settings.maintenance)
    except MigrationError:
        other = _beside(settings)
    with other:
        return locks.held_up(other, which)


def check_no_pooler(session: Session) -> None:
    """Raise MigrationError ``pooler`` when the connection leads to a pooler that shares the server's processes.

    The process id in the answer to the start of a connection comes from the server or pooler that answered; the one that
    SQL returns comes from the server. Snapshots and session settings need them to be the same process.
    """
    if session.backend_pid != session.value("SELECT pg_catalog.pg_backend_pid()"):
        raise MigrationError(
            f"The server at {session.settings.place} is a connection pooler. Connect to PostgreSQL directly "
            "(couch2pg_login_host, couch2pg_login_port).",
            "pooler",
            place=session.settings.place,
        )


def running_server(session: Session) -> str:
    """An identifier of the running server, the same for sessions through any address, socket or port.

    Unlike the system identifier, it differs for a copy of the server, and managed services don't hide it.
    """
    return str(
        session.value(
            "SELECT pg_catalog.to_char(pg_catalog.pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS')"
        )
    )


def server_identity(session: Session) -> str:
    """An identifier that a server keeps as long as its data directory exists.

    It is the server's address where a managed service hides the system identifier.
    """
    try:
        return str(session.value("SELECT system_identifier FROM pg_catalog.pg_control_system()"))
    except MigrationError as error:
        if error.code != "sql":
            raise
        return session.settings.place
