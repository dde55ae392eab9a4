# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop a database. From PostgreSQL 15 on, the drop waits until every server process has responded, for ever if one of them hangs."""

from __future__ import annotations

import re
import threading

from ..common.errors import MigrationError
from .database import find_database
from .identifiers import quote
from .lock_watch import LockWatch
from .session import LOCK_SECONDS, Session

SECONDS: float = LOCK_SECONDS
# The connection limit of a database whose drop has begun: nobody can use it or change it, only drop it.
INVALID = -2
_WAITS = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE pid = %s AND wait_event = 'ProcSignalBarrier'"
# Processes of the server that no SQL statement can end.
_AUXILIARY = ("archiver", "background writer", "checkpointer", "io worker", "startup", "walsummarizer", "walwriter")
# Every five seconds, the server logs the pid that it waits for, in the server's language.
_WHOM = re.compile(r"\b(\d+)\b.*ProcSignalBarrier")
_PROCESS = """
SELECT backend_type AS kind, usename::text AS role, datname::text AS database, application_name AS program
FROM pg_catalog.pg_stat_activity WHERE pid = %s
"""


def is_half_dropped(session: Session, name: str) -> bool:
    """Whether the drop of the database ``name`` has begun and was interrupted."""
    found = find_database(session, name)
    return found is not None and found["connection_limit"] == INVALID


def drop_database(session: Session, name: str) -> None:
    """Drop the database ``name``, which no other session uses.

    Raises MigrationError ``server_stuck``, which names the process, when another process of the server has not responded for
    ``SECONDS``. The database is then only partly dropped: the next call drops the rest.
    """
    stuck = threading.Event()
    seen: list[bool] = []

    def look() -> str:
        with session.beside(session.settings.maintenance_database) as other:
            seen.append(bool(other.value(_WAITS, [session.backend_pid])))
        if seen[-2:] == [True, True]:
            stuck.set()
            session.cancel()
        return ""

    level = session.value("SELECT pg_catalog.current_setting('client_min_messages')")
    session.execute("SET client_min_messages = log")
    try:
        with LockWatch(SECONDS, look):
            session.execute(f"DROP DATABASE {quote(name)}")
    except MigrationError as error:
        if not stuck.is_set():
            raise
        raise MigrationError(
            f"The database {name!r} at {session.settings.place} is only partly dropped, because {_whom(session)} "
            "Then run again: the next run drops the rest.",
            "server_stuck",
            database=name,
        ) from error
    finally:
        session.execute("SELECT pg_catalog.set_config('client_min_messages', %s, false)", [level])


def _whom(session: Session) -> str:
    """The process that the server waits for, and what to do."""
    pids = [match.group(1) for match in map(_WHOM.search, session.notices) if match]
    if not pids:
        return "a process of the server doesn't answer. See the server's log, which names it (ProcSignalBarrier), and end it."
    rows = session.rows(_PROCESS, [int(pids[-1])])
    of = [f"{what} {row[what]!r}" for row in rows for what in ("role", "database", "program") if row[what]]
    kind = rows[0]["kind"] if rows and rows[0]["kind"] else "process"
    return (
        f"the {kind} {pids[-1]}{' (' + ', '.join(of) + ')' if of else ''} of the server doesn't answer. If it is suspended, resume it on "
        f"the server's host (kill -CONT {pids[-1]}). Otherwise {_end(kind, pids[-1])}restart the server."
    )


def _end(kind: str, pid: str) -> str:
    """The statement that ends a process; empty for a kind that no statement can end."""
    return f"end it: SELECT pg_terminate_backend({pid}); or " if kind not in _AUXILIARY else ""
