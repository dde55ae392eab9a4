# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of a server, a database (owner, encoding, locale, settings, grants, size, sessions) and roles."""

from __future__ import annotations

import time
from typing import Any, Mapping, TypedDict, cast

from ..common.errors import MigrationError
from ..common.evidence_document import DatabaseProperties, Role, ServerProperties
from ..host.programs import major
from .connection_errors import INSUFFICIENT_PRIVILEGE
from .identifiers import literal, quote, with_suffix
from .privileges import grants
from .session import Session, server_identity
from .session_settings import PARAMETER_PRIVILEGES_SINCE

END_SECONDS = 60.0

_DATABASE = f"""
SELECT d.oid::bigint AS oid, d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
       pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS lc_collate, d.datctype AS lc_ctype,
       coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') AS locale_provider,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       to_jsonb(d) ->> 'daticurules' AS locale_rules, to_jsonb(d) ->> 'datcollversion' AS collation_version,
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
             WHERE m.member = r.oid GROUP BY 1 ORDER BY 1) AS member_of,
       ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
             WHERE m.member = r.oid AND m.admin_option GROUP BY 1 ORDER BY 1) AS admin_of,
       (SELECT jsonb_object_agg(o.name, o.text) FROM (
            SELECT g.rolname AS name,
                   'INHERIT ' || upper(bool_or((to_jsonb(m) ->> 'inherit_option')::bool)::text) || ', SET '
                   || upper(bool_or((to_jsonb(m) ->> 'set_option')::bool)::text) AS text
            FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
            WHERE m.member = r.oid AND to_jsonb(m) ? 'set_option' GROUP BY 1) AS o) AS member_options
FROM pg_catalog.pg_roles AS r
"""

# Grants on parameters of the server: the text before ``TO`` in GRANT, and the text after the role.
_PARAMETERS = """
SELECT r.rolname AS role, array_agg(ARRAY[pg_catalog.format('%%s ON PARAMETER %%I', x.privilege_type, p.parname),
       CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END] ORDER BY p.parname, x.privilege_type) AS granted
FROM pg_catalog.pg_parameter_acl AS p CROSS JOIN LATERAL pg_catalog.aclexplode(p.paracl) AS x
JOIN pg_catalog.pg_roles AS r ON r.oid = x.grantee WHERE r.rolname = ANY(%s) GROUP BY r.rolname
"""

_OBJECTS = """
SELECT count(*) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""

# Autovacuum workers, which have no role, are left out: PostgreSQL ends them itself, and only a superuser could end them. A role without
# pg_read_all_stats reads NULL from backend_type and all other columns but the role.
_SESSIONS = """
SELECT pid, usename::text AS role, coalesce(nullif(application_name, ''),
       CASE WHEN backend_type <> 'client backend' THEN backend_type ELSE '' END) AS application_name,
       coalesce(pg_catalog.host(client_addr), 'local') AS client, state, NULL AS gid
FROM pg_catalog.pg_stat_activity WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid()
  AND usesysid IS NOT NULL AND coalesce(backend_type, '') <> 'parallel worker'
UNION ALL
SELECT NULL, owner::text, pg_catalog.format('prepared transaction %%L', gid), 'local', 'prepared', gid
FROM pg_catalog.pg_prepared_xacts WHERE database = %s ORDER BY pid
"""
# PostgreSQL itself waits this long for other sessions before it renames a database.
PATIENCE_SECONDS = 5.0
SHOWN_SESSIONS = 3


def server(session: Session) -> ServerProperties:
    """Identity, version and address of the server, and the privileges of the session's role."""
    row = session.row(
        "SELECT pg_catalog.current_setting('server_version') AS version, "
        "pg_catalog.pg_is_in_recovery() AS standby, "
        "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser, "
        "(SELECT rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user) AS create_database, "
        "(SELECT rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user) AS create_role"
    )
    return {
        "version": row["version"],
        "standby": row["standby"],
        "superuser": row["superuser"],
        "create_database": row["create_database"],
        "create_role": row["create_role"],
        "version_number": session.version,
        "major": major(session.version),
        "identity": server_identity(session),
        "place": session.settings.place,
        "user": session.settings.user,
    }


def databases(session: Session) -> list[DatabaseProperties]:
    """The properties of every database of the server, by name."""
    return cast("list[DatabaseProperties]", session.rows(_DATABASE + "ORDER BY d.datname"))


def find_database(session: Session, name: str) -> DatabaseProperties | None:
    """The properties of the database ``name``; None when it doesn't exist."""
    found = cast("list[DatabaseProperties]", session.rows(_DATABASE + "WHERE d.datname = %s", [name]))
    return found[0] if found else None


def existing_database(session: Session, name: str) -> DatabaseProperties:
    """The properties of the database ``name``. Raises MigrationError ``database_missing``."""
    found = find_database(session, name)
    if found is None:
        raise MigrationError(
            f"There is no database {name!r} at {session.settings.place}. If it was renamed, rename it back, then run again.",
            "database_missing",
        )
    return found


def find_database_by_oid(session: Session, oid: int) -> DatabaseProperties | None:
    """The properties of the database with this oid, under its current name; None when it doesn't exist."""
    found = cast("list[DatabaseProperties]", session.rows(_DATABASE + "WHERE d.oid = %s", [oid]))
    return found[0] if found else None


def renamed(session: Session, oid: int, name: str) -> str:
    """A sentence: the current name of the database ``oid``, which was called ``name``, and the statements that rename it back."""
    found = find_database_by_oid(session, oid)
    if found is None:
        return "It is gone."
    taken = find_database(session, name) is not None
    first = f"ALTER DATABASE {quote(name)} RENAME TO {quote(with_suffix(name, '_other'))}; " if taken else ""
    return f"It is called {found['name']!r} now: {first}ALTER DATABASE {quote(found['name'])} RENAME TO {quote(name)};"


def freeing_name(name: str) -> str:
    """The statements that make the name of a database available: one renames the database, the other drops it."""
    return (
        f"Keep it under another name (ALTER DATABASE {quote(name)} RENAME TO {quote(with_suffix(name, '_kept'))};), or drop it if nobody "
        f"needs it (DROP DATABASE {quote(name)};), then run again."
    )


def current_oid(session: Session) -> int:
    """The oid of the session's database, which identifies it across renames."""
    return int(
        session.value("SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()")
    )


def database_size(session: Session, name: str) -> int:
    """The size of the database on disk, in bytes; 0 when an interrupted drop has removed its files."""
    return int(session.value("SELECT coalesce(pg_catalog.pg_database_size(%s), 0)", [name]))


def roles(session: Session, names: set[str]) -> list[Role]:
    """The attributes of the roles among ``names`` that exist, without passwords."""
    found = session.rows(_ROLES + "WHERE r.rolname = ANY(%s) ORDER BY r.rolname", [sorted(names)])
    may_set = session.rows(_PARAMETERS, [sorted(names)]) if session.version >= PARAMETER_PRIVILEGES_SINCE else []
    granted = {row["role"]: row["granted"] for row in may_set}
    return cast("list[Role]", [dict(role, parameters=granted.get(role["name"], [])) for role in found])


def count_objects(session: Session) -> int:
    """The number of relations in the session's database, without those of PostgreSQL and of extensions."""
    return int(session.value(_OBJECTS))


def is_empty(session: Session) -> bool:
    """Whether the session's database has no relations of its own."""
    return count_objects(session) == 0


def create_statement(session: Session, name: str, owner: str, source: Mapping[str, Any]) -> str:
    """SQL that creates an empty database with the encoding and locale of ``source``, the result of ``find_database``."""
    parts = [
        f"CREATE DATABASE {quote(name)} OWNER {quote(owner)} TEMPLATE template0",
        f"ENCODING {literal(source['encoding'])}",
        f"LC_COLLATE {literal(source['lc_collate'])}",
        f"LC_CTYPE {literal(source['lc_ctype'])}",
    ]
    if session.version >= 150000:
        if source["locale_provider"] == "i":
            rules = f" ICU_RULES {literal(source['locale_rules'])}" if source.get("locale_rules") else ""
            parts.append(f"LOCALE_PROVIDER icu ICU_LOCALE {literal(source['locale'])}{rules}")
        elif source["locale_provider"] == "b":
            parts.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(source['locale'])}")
        else:
            parts.append("LOCALE_PROVIDER libc")
    return " ".join(parts)


class OtherSession(TypedDict):
    """A session or prepared transaction on a database. pid: None for a prepared transaction; gid: the name of one, else None."""

    pid: int | None
    role: str
    application_name: str
    client: str
    state: str | None
    gid: str | None


def other_sessions(session: Session, database: str, patience: float = PATIENCE_SECONDS) -> list[OtherSession]:
    """Sessions and prepared transactions on ``database`` besides this one, after waiting up to ``patience`` seconds for them to end.

    The wait is needed because a session that has ended is still listed for a moment.
    """
    deadline = time.monotonic() + patience
    while True:
        found = cast("list[OtherSession]", session.rows(_SESSIONS, [database, database]))
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(0.1)


def users(found: list[OtherSession]) -> str:
    """The first sessions that ``other_sessions`` returned, for messages."""
    more = f" and {len(found) - SHOWN_SESSIONS} more" if len(found) > SHOWN_SESSIONS else ""
    who = [f"{row['role']} ({row['application_name'] or 'no name'}, {row['client']})" for row in found[:SHOWN_SESSIONS]]
    return ", ".join(who) + more


def ending(database: str, found: list[OtherSession]) -> str:
    """The statements that end the sessions and prepared transactions that ``other_sessions`` returned for ``database``."""
    prepared = [f"ROLLBACK PREPARED {literal(row['gid'])};" for row in found if row["gid"] is not None]
    inside = f" In the database {database!r}: {' '.join(prepared)} Or COMMIT PREPARED." if prepared else ""
    if len(prepared) == len(found):
        return inside.strip()
    return (
        "Stop the programs that connect to it, and end what remains, as a superuser: SELECT pg_terminate_backend(pid) FROM "
        f"pg_stat_activity WHERE datname = {literal(database)} AND pid <> pg_backend_pid();{inside}"
    )


def end_sessions(session: Session, database: str) -> None:
    """End the sessions that a killed restore left in its incomplete database, and wait until they have ended.

    Raises MigrationError ``sessions_remain`` when a session doesn't end.
    """
    deadline = time.monotonic() + END_SECONDS
    while True:
        found = other_sessions(session, database, patience=0)
        pids = [row["pid"] for row in found if row["pid"] is not None]
        if not pids:
            return
        try:
            session.execute("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.unnest(%s) AS pid", [pids])
        except MigrationError as error:
            if error.details.get("sqlstate") != INSUFFICIENT_PRIVILEGE:
                raise
            deadline = 0
        if time.monotonic() > deadline:
            raise MigrationError(
                f"Sessions in {database!r} don't end, or {session.settings.user!r} may not end them: {users(found)}. "
                f"{ending(database, found)} Then run again.",
                "sessions_remain",
                database=database,
            )
        time.sleep(0.1)
