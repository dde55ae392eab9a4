# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's role on the target: that it is there, and can log in with the password of couch2pg's settings.

A restore makes missing roles without login, and no dump carries passwords. What the server stores is hashed here: neither
its log nor its list of running statements ever has the password.
"""

from __future__ import annotations

from ..common.errors import MigrationError
from ..postgres import login_probe
from ..postgres.connection import Session
from ..postgres.identifiers import literal, quote
from .access import connection
from .settings import PostgresPlace

MD5, SCRAM = "md5", "scram-sha-256"
HASHES = (MD5, SCRAM)


def missing(session: Session, place: PostgresPlace, password_hash: str) -> list[str]:
    """What is to be done so that the role can log in, in the words of ALTER ROLE; empty when it can.

    session: of somebody who may create roles. Raises MigrationError for a server that can't be reached over ``place``.
    """
    found = session.rows("SELECT rolcanlogin AS login FROM pg_catalog.pg_roles WHERE rolname = %s", [place.user])
    if not found:
        return ["CREATE", "LOGIN", "PASSWORD"]
    if not found[0]["login"]:
        return ["LOGIN", "PASSWORD"]
    asked = login_probe.probe(place.host, place.port, place.user, place.database, place.encrypted)
    if asked.method == "scram" and password_hash == MD5:
        return ["PASSWORD"]
    return [] if _logs_in(place) else ["PASSWORD"]


def give(session: Session, place: PostgresPlace, password_hash: str, todo: list[str]) -> None:
    """Do what ``missing`` returned, and see that it helped.

    Raises MigrationError ``couch2pg_login`` when the role still can't log in, and ``rights`` when nothing may be changed.
    """
    verb = "CREATE" if "CREATE" in todo else "ALTER"
    hashed = session.hashed(place.password, place.user, password_hash)
    try:
        session.execute(f"{verb} ROLE {quote(place.user)} LOGIN PASSWORD {literal(hashed)}")
    except MigrationError as error:
        # The server's words would do, but its statement bears the hash.
        raise MigrationError(
            f"{session.settings.user!r} may not give {place.user!r} its login at {session.settings.place}. Use 'postgres' "
            "(login_user), or do it by hand: ALTER ROLE ... LOGIN PASSWORD ...",
            "rights",
            sqlstate=error.details.get("sqlstate"),
        ) from None
    asked = login_probe.probe(place.host, place.port, place.user, place.database, place.encrypted)
    if (asked.method == "scram" and password_hash == MD5) or not _logs_in(place):
        raise MigrationError(
            f"{place.user!r} has its password, and PostgreSQL at {place.host}:{place.port} still doesn't let it in as couch2pg "
            f"would ask ({asked.method}{': ' + asked.reason if asked.reason else ''}). Let a line of pg_hba.conf for it say "
            f"{password_hash}, and reload.",
            "couch2pg_login",
            method=asked.method,
        )


def _logs_in(place: PostgresPlace) -> bool:
    try:
        Session(connection(place)).close()
    except MigrationError as error:
        # The server looks for the database, and for the right to connect to it, after the login.
        if error.code == "database_missing" or "permission denied for database" in error.details.get("reason", ""):
            return True
        if error.code == "authentication":
            return False
        raise
    return True
