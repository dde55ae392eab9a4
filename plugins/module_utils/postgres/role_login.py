# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether a role can log in over the network with its password, and give it that login when it can't.

A restore creates missing roles without login, and a dump carries no passwords. The password is hashed on this host, so that
neither the server's log nor its list of running statements shows it.
"""

from __future__ import annotations

from ..common.errors import MigrationError
from . import login_probe
from .connection import ConnectionSettings
from .connection_errors import INSUFFICIENT_PRIVILEGE
from .hba_line import hba_line
from .identifiers import literal, quote
from .session import Session

MD5, SCRAM = "md5", "scram-sha-256"
HASHES = (MD5, SCRAM)


def missing(session: Session, login: ConnectionSettings, password_hash: str) -> list[str]:
    """What the role of ``login`` lacks to log in, as keywords of ALTER ROLE; empty when it can log in.

    session: of a role that may create roles. The password counts as missing when the server requests SCRAM and ``password_hash``
    is md5. Raises MigrationError when the server of ``login`` does not answer, and ``role_login`` when it refuses this host's address.
    """
    found = session.rows("SELECT rolcanlogin AS login FROM pg_catalog.pg_roles WHERE rolname = %s", [login.user])
    if not found:
        return ["CREATE", "LOGIN", "PASSWORD"]
    if not found[0]["login"]:
        return ["LOGIN", "PASSWORD"]
    asked = _probe(login)
    if asked.state == login_probe.REFUSED:
        raise MigrationError(
            f"PostgreSQL at {login.host}:{login.port} refuses {login.user!r} from this host: {asked.reason}. "
            f"{_line(login, password_hash)}",
            "role_login",
            method=asked.method,
        )
    if asked.method == "scram" and password_hash == MD5:
        return ["PASSWORD"]
    return [] if _logs_in(login) else ["PASSWORD"]


def give(session: Session, login: ConnectionSettings, password_hash: str, lacking: list[str]) -> None:
    """Give the role what ``missing`` returned, then try the login.

    Raises MigrationError ``role_login`` when the login still fails, and ``rights`` when the session may not change the role.
    """
    verb = "CREATE" if "CREATE" in lacking else "ALTER"
    hashed = session.hashed(login.password or "", login.user, password_hash)
    try:
        session.execute(f"{verb} ROLE {quote(login.user)} LOGIN PASSWORD {literal(hashed)}")
    except MigrationError as error:
        # The server's own message quotes the statement, and with it the hash.
        raise MigrationError(
            f"{session.settings.user!r} may not give {login.user!r} its login at {session.settings.place}. Connect as a superuser "
            f"(couch2pg_login_user: postgres), or run it yourself as one: SET password_encryption = '{password_hash}'; {verb} ROLE "
            f"{quote(login.user)} LOGIN PASSWORD 'PASSWORD';",
            "rights",
            sqlstate=error.details.get("sqlstate"),
        ) from None
    asked = _probe(login)
    if (asked.method == "scram" and password_hash == MD5) or not _logs_in(login):
        raise MigrationError(
            f"{login.user!r} now has its password, but PostgreSQL at {login.host}:{login.port} still refuses the login "
            f"({asked.method}{': ' + asked.reason if asked.reason else ''}). {_line(login, password_hash)}",
            "role_login",
            method=asked.method,
        )


def _line(login: ConnectionSettings, password_hash: str) -> str:
    """How the operator can let the role log in from this host."""
    return (
        "Put this line first in pg_hba.conf there, and reload it (SELECT pg_reload_conf()), then run again: "
        f"{hba_line(login.database, login.user, login.host, login.port, password_hash)}"
    )


def _probe(login: ConnectionSettings) -> login_probe.AuthRequest:
    return login_probe.probe(login.host, login.port, login.user, login.database, login.ssl_mode != "disable")


def _logs_in(login: ConnectionSettings) -> bool:
    try:
        Session(login).close()
    except MigrationError as error:
        # The server checks the database, and the right to connect to it, only after the password.
        if error.code == "database_missing" or error.details.get("sqlstate") == INSUFFICIENT_PRIVILEGE:
            return True
        if error.code == "authentication":
            return False
        raise
    return True
