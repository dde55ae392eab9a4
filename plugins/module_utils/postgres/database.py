# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database as a whole: owner, encoding, locale, settings, grants, size; and the roles that it needs."""

from __future__ import annotations

import time
from typing import Any, Mapping

from ..common.errors import MigrationError
from ..host.programs import major
from .connection import Session, server_identity
from .identifiers import literal, quote
from .privileges import grants

END_SECONDS = 60.0

_DATABASE = f"""
SELECT d.oid::bigint AS oid, d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
       pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS lc_collate, d.datctype AS lc_ctype,
       coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') AS locale_provider,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       to_jsonb(d) ->> 'datcollversion' AS collation_version,
       d.datconnlimit AS connection_limit, d.datistemplate AS is_template, d.datallowconn AS allow_connections,
       pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
       {grants("d.datacl", "d", "d.datdba")} AS grants,
       (SELECT s.setconfig FROM pg_catalog.pg_db_role_setting AS s
        WHERE s.setdatabase = d.oid AND s.setrole = 0) AS settings,
       (SELECT jsonb_object_agg(pg_catalog.pg_get_userbyid(s.setrole), s.setconfig)
        FROM pg_catalog.pg_db_role_setting AS s WHERE s.setdatabase = d.oid AND s.setrole <> 0) AS role_settings
FROM pg_catalog.pg_database AS d
"""

_ROLES = """
SELECT r.rolname AS name, r.rolsuper AS superuser, r.rolinherit AS inherit, r.rolcreaterole AS create_role,
       r.rolcreatedb AS create_database, r.rolcanlogin AS login, r.rolreplication AS replication,
       r.rolbypassrls AS bypass_row_security, r.rolconnlimit AS connection_limit, r.rolvaliduntil::text AS valid_until,
       r.rolconfig AS settings,
       ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
             WHERE m.member = r.oid ORDER BY 1) AS member_of
FROM pg_catalog.pg_roles AS r
"""

_OBJECTS = """
SELECT count(*) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""

# Hidden, as all but the role is, from one who may not see what others do: backend_type.
_SESSIONS = """
SELECT pid, usename AS role, application_name, coalesce(client_addr::text, 'local') AS client, state
FROM pg_catalog.pg_stat_activity WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid()
  AND coalesce(backend_type, 'client backend') = 'client backend' ORDER BY pid
"""
# As long as PostgreSQL itself waits for others before it renames a database.
PATIENCE_SECONDS = 5.0


def server(session: Session) -> dict[str, Any]:
    """What is worth knowing of the server: identity, version, where it keeps its data (where visible)."""
    row = session.row(
        "SELECT pg_catalog.current_setting('server_version') AS version, "
        "pg_catalog.pg_is_in_recovery() AS standby, "
        "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser, "
        "(SELECT rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user) AS create_database, "
        "(SELECT rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user) AS create_role"
    )
    return dict(
        row,
        version_number=session.version,
        major=major(session.version),
        identity=server_identity(session),
        place=session.settings.place,
        user=session.settings.user,
    )


def databases(session: Session) -> list[dict[str, Any]]:
    """Every database of the server, with its properties."""
    return session.rows(_DATABASE + "ORDER BY d.datname")


def find_database(session: Session, name: str) -> dict[str, Any] | None:
    """The properties of the database ``name``, or None."""
    found = session.rows(_DATABASE + "WHERE d.datname = %s", [name])
    return found[0] if found else None


def find_database_by_oid(session: Session, oid: int) -> dict[str, Any] | None:
    """The properties of the database that has this oid, whatever its name is now, or None."""
    found = session.rows(_DATABASE + "WHERE d.oid = %s", [oid])
    return found[0] if found else None


def current_oid(session: Session) -> int:
    """The oid of the session's database, which stays the same when it is renamed."""
    return int(
        session.value("SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()")
    )


def database_size(session: Session, name: str) -> int:
    """Bytes on disk."""
    return int(session.value("SELECT pg_catalog.pg_database_size(%s)", [name]))


def roles(session: Session, names: set[str]) -> list[dict[str, Any]]:
    """The attributes of those of ``names`` that exist; never a password."""
    return session.rows(_ROLES + "WHERE r.rolname = ANY(%s) ORDER BY r.rolname", [sorted(names)])


def count_objects(session: Session) -> int:
    """Relations of the operator in the session's database: 0 in an empty one."""
    return int(session.value(_OBJECTS))


def is_empty(session: Session) -> bool:
    """Whether the session's database holds nothing of anybody."""
    return count_objects(session) == 0


def create_statement(session: Session, name: str, owner: str, source: Mapping[str, Any]) -> str:
    """SQL that creates an empty database with the encoding and the locale of ``source``, as ``find_database`` returns it."""
    parts = [
        f"CREATE DATABASE {quote(name)} OWNER {quote(owner)} TEMPLATE template0",
        f"ENCODING {literal(source['encoding'])}",
        f"LC_COLLATE {literal(source['lc_collate'])}",
        f"LC_CTYPE {literal(source['lc_ctype'])}",
    ]
    if session.version >= 150000:
        if source["locale_provider"] == "i":
            parts.append(f"LOCALE_PROVIDER icu ICU_LOCALE {literal(source['locale'])}")
        elif source["locale_provider"] == "b":
            parts.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(source['locale'])}")
        else:
            parts.append("LOCALE_PROVIDER libc")
    return " ".join(parts)


def other_sessions(session: Session, database: str, patience: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
    """Who is connected to ``database`` besides this session, and stays for ``patience``: one that has ended is seen for a while."""
    deadline = time.monotonic() + patience
    while True:
        found = session.rows(_SESSIONS, [database])
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(0.1)


def end_sessions(session: Session, database: str) -> None:
    """End what a killed restore left at work in its own half-done database, and see that it has ended.

    Raises MigrationError ``sessions_remain`` when something doesn't.
    """
    condition = "FROM pg_catalog.pg_stat_activity WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid()"
    deadline = time.monotonic() + END_SECONDS
    while session.rows(f"SELECT pg_catalog.pg_terminate_backend(pid) {condition}", [database]):
        if time.monotonic() > deadline:
            raise MigrationError(
                f"Sessions in {database!r} don't end. Look at pg_stat_activity on the target, end them, then run again.",
                "sessions_remain",
                database=database,
            )
        time.sleep(0.1)
