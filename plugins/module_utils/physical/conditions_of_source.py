# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the source must have, or must not have, for a copy of its files."""

from __future__ import annotations

from typing import Iterator

from ..common.errors import MigrationError
from ..postgres import every_database, preload_libraries, unlogged
from ..postgres.identifiers import quote
from ..postgres.session import Session
from .other_method import OR_STREAM, STREAM

# PostgreSQL's default. With wal_level minimal, a server only starts with max_wal_senders = 0.
DEFAULT_SENDERS = 10
SHOWN = 3

_TABLESPACES = "SELECT spcname AS name FROM pg_catalog.pg_tablespace WHERE oid NOT IN (1663, 1664) ORDER BY 1"
_POSTGRES = "SELECT FROM pg_catalog.pg_database WHERE datname = 'postgres' AND datallowconn"
_RESTORE_POINT = "pg_catalog.pg_create_restore_point(text)"


def check_source(session: Session) -> list[str]:
    """The databases that could not be read, so that their tables may be unlogged.

    Raises MigrationError with every problem. Its code is that of the first: ``is_standby``, ``no_postgres``, ``unlogged``,
    ``wal_level`` or ``tablespaces``; its details have all ``codes``.
    """
    lost, unread = {}, []
    for name, inside in every_database.sessions(session):
        if inside is None:
            unread.append(name)
            continue
        found = unlogged.find(inside)
        if found:
            lost[name] = found
    problems = list(_problems(session, lost))
    if not problems:
        return unread
    details = {name: value for problem in problems for name, value in problem.details.items()}
    # The last sentence of tablespaces, which come last, names the other method.
    end = [] if problems[-1].code == "tablespaces" else [OR_STREAM]
    raise MigrationError(
        " ".join([*(problem.message for problem in problems), *([words(unread)] if unread else []), *end]),
        problems[0].code,
        **{**details, "codes": [problem.code for problem in problems]},
    )


def words(unread: list[str]) -> str:
    """A sentence on databases that could not be read."""
    return (
        f"These databases were not searched for unlogged tables, which would arrive empty, because they allow no connections or refuse "
        f"this login: {', '.join(unread)}."
    )


def check_rights(session: Session) -> str:
    """Raise MigrationError ``copy_rights`` unless this role may do what else the copy needs, a superuser or not."""
    user, lacking, grants = session.settings.user, [], []
    if not session.value("SELECT pg_catalog.has_function_privilege(%s, 'EXECUTE')", [_RESTORE_POINT]):
        lacking.append("write the restore point with which the copy ends")
        grants.append(f"GRANT EXECUTE ON FUNCTION {_RESTORE_POINT} TO {quote(user)};")
    # The server on the copy loads the same libraries.
    if preload_libraries.at_start(session) is None:
        lacking.append("read shared_preload_libraries")
        grants.append(f"GRANT pg_read_all_settings TO {quote(user)};")
    if grants:
        raise MigrationError(
            f"{user!r} may not {' or '.join(lacking)}. On the source, in the database {session.settings.database!r}, as a superuser: "
            f"{' '.join(grants)} {OR_STREAM}",
            "copy_rights",
        )
    return f"{user!r} may write the restore point with which the copy ends, and read the server's settings"


def _problems(session: Session, lost: dict[str, dict[str, str]]) -> Iterator[MigrationError]:
    """lost: the statements of ``unlogged.find`` by database."""
    place = session.settings.place
    if session.value("SELECT pg_catalog.pg_is_in_recovery()"):
        yield MigrationError(
            f"The server at {place} is a standby, on which no restore point can be made. Take its primary as the source.",
            "is_standby",
        )
    if not session.rows(_POSTGRES):
        yield MigrationError(
            f"The server at {place} has no database postgres that can be connected to, in which the copy is examined. There, as a "
            "superuser: CREATE DATABASE postgres; or, if it exists: ALTER DATABASE postgres ALLOW_CONNECTIONS true;",
            "no_postgres",
        )
    if lost:
        names = [f"{name} (database {database})" for database, found in lost.items() for name in found]
        some = ", ".join(names[:SHOWN]) + (" and others" if len(names) > SHOWN else "")
        remedies = " ".join(f"in {database!r}: {' '.join(found.values())}" for database, found in lost.items())
        yield MigrationError(
            f"WAL does not have the content of {some}: unlogged tables would arrive empty, sequences at their start. On the source, "
            f"{remedies} Then run again.",
            "unlogged",
            unlogged={database: list(found) for database, found in lost.items()},
        )
    if session.value("SELECT pg_catalog.current_setting('wal_level')") == "minimal":
        yield MigrationError(
            f"The server at {place} has wal_level = minimal, which no base backup can be made from. There, as a superuser: ALTER SYSTEM "
            f"SET wal_level = replica; ALTER SYSTEM SET max_wal_senders = {DEFAULT_SENDERS}; Then restart its server.",
            "wal_level",
        )
    spaces = [row["name"] for row in session.rows(_TABLESPACES)]
    if spaces:
        yield MigrationError(
            f"The server at {place} has tablespaces ({', '.join(spaces)}), whose folders a copy of its files would need on the target. "
            f"{STREAM[:-1]}, with couch2pg_tablespaces: default where the target has no tablespaces of these names.",
            "tablespaces",
            tablespaces=spaces,
        )
