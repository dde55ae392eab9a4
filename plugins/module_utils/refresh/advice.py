# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do when a materialized view can't be refreshed, or when the function that refreshes all of them fails."""

from __future__ import annotations

import re

from ..archive import messages
from ..common import restart
from ..postgres import preload_libraries
from ..postgres.connection_errors import INSUFFICIENT_PRIVILEGE, StatementDetails
from ..postgres.identifiers import quote
from ..postgres.session import LOCK_NOT_AVAILABLE, Session

# PostgreSQL's message about an object that a role may not use. It names the object without its schema.
_REFUSED = re.compile(
    r"permission denied for (table|view|materialized view|foreign table|sequence|schema|function|foreign server) (.*)"
)
_PRIVILEGES = {
    "schema": "USAGE ON SCHEMA",
    "function": "EXECUTE ON FUNCTION",
    "foreign server": "USAGE ON FOREIGN SERVER",
}
# Everything with that name that the role may not read.
_UNREADABLE = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS name FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT pg_catalog.has_table_privilege(%s, c.oid, 'SELECT') ORDER BY 1
"""
_UNUSABLE = """
SELECT p.oid::pg_catalog.regprocedure::text AS name FROM pg_catalog.pg_proc AS p
WHERE p.proname = %s AND NOT pg_catalog.has_function_privilege(%s, p.oid, 'EXECUTE') ORDER BY 1
"""
# Servers for which a role has no mapping, or one without a password.
_UNMAPPED = """
SELECT s.srvname AS name FROM pg_catalog.pg_foreign_server AS s WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_user_mappings AS m
    WHERE m.srvid = s.oid AND (m.umuser = 0 OR m.umuser = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s))) ORDER BY 1
"""
_WITHOUT_PASSWORD = """
SELECT m.srvname AS name, CASE WHEN m.umuser = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(m.usename) END AS role
FROM pg_catalog.pg_user_mappings AS m
WHERE (m.umuser = 0 OR m.usename = %s) AND NOT EXISTS (SELECT FROM pg_catalog.unnest(m.umoptions) AS o WHERE o LIKE 'password=%%')
ORDER BY 1
"""
_OF_BOTH = """
SELECT FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS c
WHERE s.setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s) AND c LIKE %s
  AND s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
"""
# This timeout ends the session, too.
TRANSACTION_TIMEOUT = "due to transaction timeout"
# Words of the message with which PostgreSQL enforces a limit, and the setting that removes the limit.
_LIMITS = {
    "due to statement timeout": "statement_timeout = 0",
    "due to lock timeout": "lock_timeout = 0",
    TRANSACTION_TIMEOUT: "transaction_timeout = 0",
    "temp_file_limit": "temp_file_limit = -1",
}
# By SQLSTATE, where the message names no limit.
_PASSING = {
    "53100": "Free or add disk space on the target's server, then run again.",
    "57014": "Another session cancelled the refresh: run again.",
    LOCK_NOT_AVAILABLE: "Another session has a lock that the refresh needs: run again.",
}
_NOT_LOADED = re.compile(r'(\S+) must be loaded via "?shared_preload_libraries')
_UNMAPPED_ROLE = re.compile(r'user mapping not found for (?:user )?"(.*?)"(?:, server "(.*)")?$')
_STATEMENT = re.compile(r'SQL statement "(.*)"$', re.MULTILINE)
_REFRESHED = re.compile(r"REFRESH MATERIALIZED VIEW (?:CONCURRENTLY )?(.+?);?$")
# Data exceptions, and broken constraints, such as the one of the view's unique index.
_OF_DATA = ("22", "23")


def of_view(session: Session, name: str, owner: str, reason: str, details: StatementDetails) -> str:
    """The advice for the materialized view ``name`` (as SQL) of ``owner``. reason, details: of the error of its refresh."""
    found = _of_server(session, owner, reason, details)
    if found:
        return found
    state = str(details["sqlstate"])
    if state[:2] in _OF_DATA:
        return (
            f"The view's query fails on its rows, on the source, too. This shows the error there: REFRESH MATERIALIZED VIEW {name}; "
            "Correct the query on the source, or the documents in CouchDB."
        )
    if state == INSUFFICIENT_PRIVILEGE:
        return _of_privilege(session, owner, reason)
    return (
        messages.of_function(reason, details["context"])
        or _of_foreign_server(session, owner, reason, details)
        or "Fix its definition on the source."
    )


def of_call(session: Session, owner: str, reason: str, details: StatementDetails) -> str:
    """The advice for the function that refreshes all views, called as ``owner``."""
    found = _of_server(session, owner, reason, details) or _of_foreign_server(session, owner, reason, details)
    if found:
        return found
    view = _REFRESHED.match(statement(details))
    if view and str(details["hint"]).startswith("Create a unique index"):
        return (
            "The view needs a unique index on columns that are unique in it. In the source's database: CREATE UNIQUE INDEX ON "
            f"{view.group(1)} (COLUMNS);"
        )
    return "Fix that materialized view on the source."


def statement(details: StatementDetails) -> str:
    """The statement in a function that failed; empty where the error's context has none."""
    found = _STATEMENT.match(details["context"] or "")
    return found.group(1) if found else ""


def then(advice: str) -> str:
    """The sentence after an advice: after a change of the database, dump again or accept the difference in verify."""
    if advice.endswith("run again."):
        return ""
    return (
        " After a change on the target, run again: verify then reports this change as a difference, with the entry for "
        f"couch2pg_accept_differences. After a change on the source, dump again: {restart.command('dump')}"
    )


def _of_server(session: Session, owner: str, reason: str, details: StatementDetails) -> str:
    """The advice for a cause outside of the database: afterwards, nothing has to be dumped or accepted."""
    state = details["sqlstate"]
    for words, value in _LIMITS.items():
        if words in reason:
            start = f"On the target, as a superuser: ALTER ROLE {quote(owner)}"
            # A role's setting for one database overrides the role's own setting. The role's own setting is in no archive.
            if session.rows(_OF_BOTH, [owner, f"{value.split()[0]}=%"]):
                return f"{start} IN DATABASE {quote(session.settings.database)} SET {value};"
            return f"{start} SET {value}; Then run again."
    if state in _PASSING:
        return _PASSING[state]
    library = _NOT_LOADED.search(reason)
    if library:
        more, loaded = [library.group(1)], preload_libraries.at_start(session)
        add = (
            preload_libraries.ask_and_add_at_start(more)
            if loaded is None
            else preload_libraries.add_at_start(loaded, more)
        )
        return f"On the target, as a superuser: {add} Restart the server, then run again."
    return ""


def _of_privilege(session: Session, owner: str, reason: str) -> str:
    refused = _REFUSED.match(reason)
    if refused is None:
        return "The owner of the view lacks a privilege on something that the view reads: grant it on the target."
    kind, name = refused.groups()
    names = [quote(name)]
    if kind not in ("schema", "foreign server"):
        query = _UNUSABLE if kind == "function" else _UNREADABLE
        # Without a result, another role lacks the privilege: the owner of a view between this view and the object.
        names = [row["name"] for row in session.rows(query, [name, owner])] or [f"SCHEMA.{quote(name)}"]
    what = _PRIVILEGES.get(kind, "SELECT ON")
    statements = " ".join(f"GRANT {what} {each} TO {quote(owner)};" for each in names)
    of_one = "" if len(names) == 1 else " (only the statement for the object that the view reads)"
    return f"The owner of the view lacks a privilege. On the target, as a superuser{of_one}: {statements}"


def _of_foreign_server(session: Session, owner: str, reason: str, details: StatementDetails) -> str:
    """The advice for an error that postgres_fdw reports; empty for any other."""
    state, context = details["sqlstate"], details["context"] or ""
    unmapped = _UNMAPPED_ROLE.search(reason)
    if unmapped:
        role, server = unmapped.groups()
        servers = [server] if server else [row["name"] for row in session.rows(_UNMAPPED, [role])]
        statements = " ".join(
            f"CREATE USER MAPPING FOR {quote(role)} SERVER {quote(each)} OPTIONS (user 'USER', password 'PASSWORD');"
            for each in servers
        )
        return f"This role has no login to a foreign server. In the database of the source or of the target, as a superuser: {statements}"
    if state == "2F003":
        statements = " ".join(
            f"ALTER USER MAPPING FOR {row['role']} SERVER {quote(row['name'])} OPTIONS (ADD password 'PASSWORD');"
            for row in session.rows(_WITHOUT_PASSWORD, [owner])
        )
        return (
            f"The login to a foreign server has no password. On the target, as a superuser: {statements}"
            if statements
            else ""
        )
    if state == "08001":
        return (
            f"A foreign server doesn't let the target in ({' '.join(str(details['detail']).split())}). Correct that there, or the "
            "server's address on the target: ALTER SERVER ... OPTIONS (SET host '...', SET port '...');"
        )
    if context.startswith("remote SQL command:"):
        return "The foreign server refused this: correct it there, or the foreign table's definition on the source."
    return ""
