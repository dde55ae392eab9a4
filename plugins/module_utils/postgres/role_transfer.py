# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfer ownership and grants of a role in one database to another role, without affecting other databases.

PostgreSQL's REASSIGN OWNED also changes the owner of the role's databases, and doesn't transfer grants.
"""

from __future__ import annotations

from typing import NamedTuple

from . import event_triggers
from .identifiers import literal, quote
from .objects import Objects, read_objects
from .role_mapping import Moves
from .session import Session

# Object types whose name in pg_identify_object differs from the one in ALTER.
_WORDS = {
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    "statistics object": "STATISTICS",
    "composite type": "TYPE",
}

# A sequence of a column changes its owner with its table.
_OF_COLUMNS = """
SELECT i.identity FROM pg_catalog.pg_depend AS d
JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS i
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
"""

# Without privileges on objects that the role still owns: objects of the server itself, and members of extensions.
_PRIVILEGES = """
WITH object(what, name, columns, acl, owner) AS (
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::pg_catalog.regclass::text, '', relacl, relowner
    FROM pg_catalog.pg_class
  UNION ALL
    SELECT 'TABLE', attrelid::pg_catalog.regclass::text, ' (' || pg_catalog.quote_ident(attname) || ')', attacl, relowner
    FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class AS c ON c.oid = attrelid WHERE NOT attisdropped
  UNION ALL
    SELECT 'ROUTINE', oid::pg_catalog.regprocedure::text, '', proacl, proowner FROM pg_catalog.pg_proc
  UNION ALL
    SELECT 'SCHEMA', pg_catalog.quote_ident(nspname), '', nspacl, nspowner FROM pg_catalog.pg_namespace
  UNION ALL
    SELECT 'TYPE', oid::pg_catalog.regtype::text, '', typacl, typowner FROM pg_catalog.pg_type
  UNION ALL
    SELECT 'LANGUAGE', pg_catalog.quote_ident(lanname), '', lanacl, lanowner FROM pg_catalog.pg_language
  UNION ALL
    SELECT 'FOREIGN DATA WRAPPER', pg_catalog.quote_ident(fdwname), '', fdwacl, fdwowner FROM pg_catalog.pg_foreign_data_wrapper
  UNION ALL
    SELECT 'FOREIGN SERVER', pg_catalog.quote_ident(srvname), '', srvacl, srvowner FROM pg_catalog.pg_foreign_server
  UNION ALL
    SELECT 'LARGE OBJECT', oid::text, '', lomacl, lomowner FROM pg_catalog.pg_largeobject_metadata
), role(oid) AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s)
SELECT o.what, o.name, o.columns, a.privilege_type AS privilege, a.is_grantable AS grantable,
       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END AS grantee,
       pg_catalog.pg_get_userbyid(a.grantor) AS grantor, a.grantee = role.oid AS to_it
FROM object AS o CROSS JOIN role CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) AS a
WHERE o.owner <> role.oid AND (a.grantee = role.oid OR a.grantor = role.oid) ORDER BY 1, 2, 3, 4
"""

_DEFAULTS = """
SELECT pg_catalog.pg_get_userbyid(d.defaclrole) AS role, n.nspname AS schema,
       CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
           WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS what,
       coalesce((SELECT jsonb_agg(jsonb_build_array(
           CASE a.grantee WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable))
           FROM pg_catalog.aclexplode(d.defaclacl) AS a), '[]') AS entries
FROM pg_catalog.pg_default_acl AS d LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
"""

_POLICIES = """
SELECT p.polname AS name, c.oid::pg_catalog.regclass::text AS relation,
       ARRAY(SELECT pg_catalog.pg_get_userbyid(r)::text FROM pg_catalog.unnest(p.polroles) AS r) AS roles
FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
WHERE (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s) = ANY (p.polroles)
"""

_MAPPINGS = """
SELECT srvname AS server, umoptions AS options FROM pg_catalog.pg_user_mappings WHERE usename = %s
"""


class _Privilege(NamedTuple):
    """A row of _PRIVILEGES: a role's privilege, or one that the role granted (``to_it`` is false). columns: in parentheses, or empty."""

    what: str
    name: str
    columns: str
    privilege: str
    grantable: bool
    grantee: str
    grantor: str
    to_it: bool

    @property
    def words(self) -> str:
        """The privilege as GRANT and REVOKE write it."""
        return f"{self.privilege}{self.columns} ON {self.what} {self.name}"


class _Defaults(NamedTuple):
    """A row of _DEFAULTS: default privileges that a role has set. schema: None for all; entries: role (None: PUBLIC), privilege, option."""

    role: str
    schema: str | None
    what: str
    entries: list[tuple[str | None, str, bool]]

    def altering(self, role: str) -> str:
        """The start of the statements that change those of ``role`` in the same place."""
        place = f" IN SCHEMA {quote(self.schema)}" if self.schema else ""
        return f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote(role)}{place}"


def transfer(session: Session, moves: Moves) -> None:
    """Transfer every role in ``moves`` in the session's database, in one transaction.

    For a role without a new name only its grants on objects are revoked; ``drop`` removes the rest.
    """
    with event_triggers.silent_transaction(session):
        for old, new in sorted(moves.items()):
            if new is None:
                _privileges(session, old, None)
            else:
                _move(session, old, new)


def _move(session: Session, old: str, new: str) -> None:
    for name in owned(session, read_objects(session), old):
        session.execute(f"ALTER {name} OWNER TO {quote(new)}")
    _privileges(session, old, new)
    for defaults in _all_defaults(session):
        _transfer_defaults(session, defaults, old, new)
    for row in session.rows(_POLICIES, [old]):
        roles = ", ".join(quote(new if role == old else role) for role in row["roles"])
        session.execute(f"ALTER POLICY {quote(row['name'])} ON {row['relation']} TO {roles}")
    for row in session.rows(_MAPPINGS, [old]):
        parts = [option.split("=", 1) for option in row["options"] or []]
        options = ", ".join(f"{quote(name)} {literal(value)}" for name, value in parts)
        session.execute(
            f"CREATE USER MAPPING FOR {quote(new)} SERVER {quote(row['server'])}{f' OPTIONS ({options})' if options else ''}"
        )
        session.execute(f"DROP USER MAPPING FOR {quote(old)} SERVER {quote(row['server'])}")


def owned(session: Session, objects: Objects, role: str) -> list[str]:
    """The objects among ``objects`` that the role owns, as ``ALTER`` names them.

    pg_shdepend isn't read, because it contains no objects of the superuser of initdb.
    """
    of_columns = {row["identity"] for row in session.rows(_OF_COLUMNS)}
    return [
        # The identity of a schema is its name without quotes.
        f"{_WORDS.get(kind, kind.upper())} {quote(identity) if kind == 'schema' else identity}"
        for kind, entries in sorted(objects.items())
        for identity, entry in sorted(entries.items())
        if entry.get("owner") == role and kind != "extension" and not (kind == "sequence" and identity in of_columns)
    ]


def _privileges(session: Session, old: str, new: str | None) -> None:
    """Grant the old role's privileges, and those that it granted, again by the object's owner; revoke them from the old role."""
    found = [_Privilege(**row) for row in session.rows(_PRIVILEGES, [old])]
    for one in found:
        to = one.grantee if not one.to_it else new and quote(new)
        if to:
            option = " WITH GRANT OPTION" if one.grantable else ""
            session.execute(f"GRANT {one.words} TO {to}{option}")
    # First revoke what the role granted: such a grant on a column may depend on the role's grant on the table, whose revocation leaves it.
    for one in sorted(found, key=lambda one: one.to_it):
        # Only the grantor can revoke a grant, not even a superuser can do it directly.
        session.execute(f"SET LOCAL ROLE {quote(one.grantor)}")
        session.execute(f"REVOKE {one.words} FROM {one.grantee} CASCADE")
        session.execute("SET LOCAL ROLE NONE")


def _all_defaults(session: Session) -> list[_Defaults]:
    return [_Defaults(**row) for row in session.rows(_DEFAULTS)]


def _transfer_defaults(session: Session, defaults: _Defaults, old: str, new: str) -> None:
    """Transfer default privileges that the role set, or that another role granted to it."""
    what, own = defaults.what, defaults.role == old
    if not own and not any(role == old for role, _privilege, _option in defaults.entries):
        return
    start = defaults.altering(new if own else defaults.role)
    if own and not defaults.schema:
        # A global entry replaces the built-in default privileges, so revoke those of the new entry first.
        for role in ("PUBLIC", quote(new)):
            session.execute(f"{start} REVOKE ALL ON {what} FROM {role}")
    for grantee, privilege, option in defaults.entries:
        if own or grantee == old:
            to = "PUBLIC" if grantee is None else quote(new if grantee == old else grantee)
            end = " WITH GRANT OPTION" if option else ""
            session.execute(f"{start} GRANT {privilege} ON {what} TO {to}{end}")
    if own:
        for statement in _resetting(defaults):
            session.execute(statement)
    else:
        session.execute(f"{start} REVOKE ALL ON {what} FROM {quote(old)}")


def _resetting(defaults: _Defaults) -> list[str]:
    """Statements that reset a role's default privileges to PostgreSQL's built-in ones, which removes the entry."""
    start, what = defaults.altering(defaults.role), defaults.what
    granted = sorted({role for role, _privilege, _option in defaults.entries if role is not None})
    statements = [f"{start} REVOKE ALL ON {what} FROM {', '.join(['PUBLIC', *map(quote, granted)])}"]
    if not defaults.schema:
        statements.append(f"{start} GRANT ALL ON {what} TO {quote(defaults.role)}")
        public = {"FUNCTIONS": "EXECUTE", "TYPES": "USAGE"}.get(what)
        if public:
            statements.append(f"{start} GRANT {public} ON {what} TO PUBLIC")
    return statements


def removing_defaults(session: Session, role: str) -> list[str]:
    """Statements that remove every default privilege that the role has set in the session's database."""
    return [text for defaults in _all_defaults(session) if defaults.role == role for text in _resetting(defaults)]


def drop(session: Session, name: str) -> None:
    """Drop a role that was created for this restore, with its grants in this database."""
    with event_triggers.silent_transaction(session):
        session.execute(f"DROP OWNED BY {quote(name)}")
    session.execute(f"DROP ROLE {quote(name)}")
