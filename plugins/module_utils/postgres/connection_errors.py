# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors for failed logins and statements. A server's messages may be in any language; its SQLSTATE codes don't depend on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable, TypedDict, cast

from ..common.errors import MigrationError
from ..host.system_account import myself
from .hba_line import hba_line
from .identifiers import quote

if TYPE_CHECKING:
    from .connection import ConnectionSettings

INSUFFICIENT_PRIVILEGE = "42501"
# The server's message when a role lacks a privilege, and the statement that grants the privilege.
_LACKS = (
    (r'(?:must be able to SET ROLE|must be member of role) "(.*)"', 'GRANT "{0}" TO {role};'),
    (
        r'(?:must have admin option on role|permission denied to grant role) "(.*)"',
        'GRANT "{0}" TO {role} WITH ADMIN OPTION;',
    ),
    (r"permission denied to create database", "ALTER ROLE {role} CREATEDB;"),
)
_CHANGED = ("tuple concurrently updated", "tuple concurrently deleted")
# The suffix that the database for the restore has by default.
INCOMING = "_incoming"

# The SQLSTATE of the refusal, the server's message in English (None: any), the code of the MigrationError, and its message.
_LOGIN: tuple[tuple[str, str | None, str, str], ...] = (
    (
        "28P01",
        r"password authentication failed|no password supplied",
        "authentication",
        "PostgreSQL at {place} refused the login of {user!r}: check {login}.",
    ),
    (
        "28000",
        r"Peer authentication failed|Ident authentication failed",
        "authentication",
        (
            "PostgreSQL at {place} asks which user of the host connects as {user!r}, and {myself!r} may not: set couch2pg_become_user to "
            "one that may, such as postgres. Or log in with a password: couch2pg_login_host, couch2pg_login_user and "
            "couch2pg_login_password."
        ),
    ),
    (
        "28000",
        r"no pg_hba\.conf entry",
        "authentication",
        (
            "PostgreSQL at {place} has no pg_hba.conf line for {user!r} and {database!r}. Add this line there, and reload "
            "it (SELECT pg_reload_conf()), then run again: {hba_line}"
        ),
    ),
    (
        "28000",
        r"is not permitted to log in",
        "authentication",
        "The role {user!r} may not log in at {place}. There, as a superuser: ALTER ROLE {role} LOGIN;",
    ),
    (
        "28000",
        r'role ".*" does not exist',
        "authentication",
        "There is no role {user!r} at {place}: check {login_user}.",
    ),
    (
        "28000",
        None,
        "authentication",
        "PostgreSQL at {place} refused the login of {user!r}: {reason}. Check the role, its LOGIN, and pg_hba.conf.",
    ),
    (
        "3D000",
        r'database ".*" does not exist|no such database',
        "database_missing",
        "There is no database {database!r} at {place}: check {database_name}.",
    ),
    (
        INSUFFICIENT_PRIVILEGE,
        r"permission denied for database",
        "authentication",
        (
            "The role {user!r} may not connect to {database!r} at {place}. There, as a superuser: "
            "GRANT CONNECT ON DATABASE {database_quoted} TO {role};"
        ),
    ),
    (
        "55000",
        r"is not currently accepting connections",
        "database_closed",
        (
            "The database {database!r} at {place} allows no connections. In another database of that server, as a superuser: ALTER "
            "DATABASE {database_quoted} ALLOW_CONNECTIONS true;"
        ),
    ),
    (
        "53300",
        r"too many connections for role",
        "too_many_connections",
        (
            "The role {user!r} has as many connections at {place} as it may have ({reason}). Set couch2pg_jobs lower, end idle sessions "
            "there, or raise the limit, as a superuser: ALTER ROLE {role} CONNECTION LIMIT -1;"
        ),
    ),
    (
        "53300",
        r"too many connections for database",
        "too_many_connections",
        (
            "The database {database!r} at {place} has as many connections as it may have ({reason}). Set couch2pg_jobs lower, end idle "
            "sessions there, or raise the limit, as a superuser: ALTER DATABASE {database_quoted} CONNECTION LIMIT -1;"
        ),
    ),
    (
        "53300",
        r"too many (clients|connections)|remaining connection slots",
        "too_many_connections",
        (
            "PostgreSQL at {place} gives {user!r} no more connections to {database!r} ({reason}). Set couch2pg_jobs lower, end idle "
            "sessions there, or raise the limit: of the server (ALTER SYSTEM SET max_connections = HIGHER_NUMBER; and a restart), of the "
            "role (ALTER ROLE ... CONNECTION LIMIT) or of the database (ALTER DATABASE ... CONNECTION LIMIT)."
        ),
    ),
    (
        "08P01",
        r"unsupported startup parameter",
        "pooler",
        "The server at {place} is a connection pooler. Connect to PostgreSQL directly ({address}).",
    ),
)


def _names(settings: ConnectionSettings) -> dict[str, str]:
    """What the operator can correct, under the names that it has in the place where these settings come from."""
    if settings.origin:
        words = {
            "login": "user and password",
            "login_user": "the user",
            "database_name": "the database",
            "address": "host and port",
        }
        return {name: f"{what} in {settings.origin}" for name, what in words.items()}
    database = "couch2pg_database"
    if settings.database == settings.maintenance_database:
        database = "couch2pg_maintenance_database"
    elif settings.database.endswith(INCOMING):
        database += ", and that the restore was done"
    return {
        "login": "couch2pg_login_user and couch2pg_login_password",
        "login_user": "couch2pg_login_user",
        "database_name": database,
        "address": "couch2pg_login_host, couch2pg_login_port",
    }


def _remedy(settings: ConnectionSettings) -> str:
    """What the operator can do when no server answers."""
    if settings.origin:
        return (
            f"Check host and port in {settings.origin}, and that the server runs. Where this host reaches it by another address, as in a "
            "network of containers, set couch2pg_app_reach: {login_host: ADDRESS, login_port: PORT}."
        )
    if settings.tunnel:
        return "Check that the source's server and its sshd run, then run again."
    if settings.host:
        return "Check couch2pg_login_host, couch2pg_login_port and that the server runs, then run again."
    return (
        "Start it; or say where it is: couch2pg_login_host for a server that is reached by an address, couch2pg_login_port and "
        "couch2pg_login_unix_socket for another socket, or couch2pg_postgres: {kind: container, container: NAME}."
    )


def of_login(settings: ConnectionSettings, text: str, ask_state: Callable[[], str | None]) -> MigrationError:
    """The error for a login that was refused with ``text``.

    ``ask_state`` returns the SQLSTATE, but needs another login. It is only called when ``text`` has none of the English messages.
    """
    reason = _reason(text)
    where = {"place": settings.place, "database": settings.database, "user": settings.user, "reason": reason}
    found = next((case for case in _LOGIN if case[1] and re.search(case[1], text)), None)
    if found is None and _came_from_a_server(text):
        asked = ask_state()
        # Of several cases with the same SQLSTATE, the last one has the most general message.
        found = next((case for case in reversed(_LOGIN) if case[0] == asked), None)
    if found is None:
        return MigrationError(
            f"PostgreSQL at {settings.place} can't be reached: {reason.rstrip('.')}. {_remedy(settings)}",
            "unreachable",
            **where,
        )
    state, _words, code, sentence = found
    words = {**where, **_names(settings), "reason": reason.rstrip("."), "myself": myself()}
    words.update(role=quote(settings.user), database_quoted=quote(settings.database))
    words["hba_line"] = hba_line(settings.database, settings.user, settings.host, settings.port)
    return MigrationError(sentence.format(**words), code, sqlstate=state, **where)


def _reason(text: str) -> str:
    """libpq's message: one clause for each address that it tried, without the question "Is the server running ...?"."""
    said = re.sub(r"\s*\bIs the server running\b.*?\?", "", text, flags=re.DOTALL)
    return "; ".join(re.sub(r"\s+", " ", line).strip() for line in said.splitlines() if line.strip())


def _came_from_a_server(text: str) -> bool:
    """Whether ``text`` is an answer of the server. libpq's own messages are in English, because Python doesn't set their language."""
    return not re.search(
        r"refused\n|timeout expired|could not translate|No such file|unreachable|No route to host", text
    )


class StatementDetails(TypedDict):
    """The details of an error with the code ``sql`` or ``connection_lost``. reason: the server's message; place: of the server.

    hint, detail, context: the server's further lines, None without them. Without an answer of the server, sqlstate is None, too.
    """

    sqlstate: str | None
    hint: str | None
    detail: str | None
    context: str | None
    database: str
    place: str
    reason: str


def details_of(error: MigrationError) -> StatementDetails:
    """The details of an error that ``of_statement`` made."""
    return cast("StatementDetails", error.details)


def of_statement(settings: ConnectionSettings, error: Any, lost: bool) -> MigrationError:
    """The error for a failed statement, with the server's message. ``lost``: whether the session ended with the statement.

    The SQLSTATE alone doesn't show a lost session: a foreign server that doesn't answer gives the same code.
    The details are ``StatementDetails``; those of the code ``sql`` also have ``remedy``: what the operator can do, for an error that no
    caller handles.
    """
    diagnosis = getattr(error, "diag", None)
    # A message of libpq itself can have several lines; take the first one.
    primary = getattr(diagnosis, "message_primary", None) or (str(error).strip().splitlines() or [""])[
        0
    ].strip().rstrip(".")
    details: StatementDetails = {
        "sqlstate": getattr(error, "pgcode", None),
        "hint": getattr(diagnosis, "message_hint", None),
        "detail": getattr(diagnosis, "message_detail", None),
        "context": getattr(diagnosis, "context", None),
        "database": settings.database,
        "place": settings.place,
        "reason": primary,
    }
    if lost:
        return MigrationError(
            f"The connection to {settings.database!r} at {settings.place} was lost: {primary}. "
            "Check that the server runs, then run again.",
            "connection_lost",
            **details,
        )
    # Two sessions changed the same role, database or grant. The server has no specific SQLSTATE for this.
    again = (
        " Another session changed the same object at this moment: run again." if primary.startswith(_CHANGED) else ""
    )
    return MigrationError(
        f"PostgreSQL at {settings.place} refused a statement in {settings.database!r}: {primary}.{again}",
        "sql",
        remedy=_permission(settings, primary) if details["sqlstate"] == INSUFFICIENT_PRIVILEGE else "",
        **details,
    )


def _permission(settings: ConnectionSettings, primary: str) -> str:
    """What the operator can do when the role of ``settings`` lacks a privilege. ``primary``: the server's message."""
    role = quote(settings.user)
    found = ((re.search(words, primary), statement) for words, statement in _LACKS)
    given = next((statement.format(*match.groups(), role=role) for match, statement in found if match), "")
    grant = (
        f"allow it, as a superuser: {given} Then"
        if given
        else f"let a superuser give {settings.user!r} what it lacks, then"
    )
    return f"Set {_names(settings)['login_user']} to a role that may do this; or {grant} run again."
