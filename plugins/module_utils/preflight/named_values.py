# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the source: values that name objects (types regclass, regrole, aclitem). To load them, the target needs the objects."""

from __future__ import annotations

import re
from typing import TypedDict

from ..common.errors import MigrationError
from ..postgres.relations import USER_SCHEMAS
from ..postgres.session import Session
from .bounded_query import rows_within

SECONDS_EACH = 5
# Every value of these types, also inside arrays, domains and composite types: an expression, and what it is read from.
_VALUES = f"""
WITH RECURSIVE inside(name, type, value, source) AS (
    SELECT n.nspname || '.' || c.relname || '.' || a.attname, a.atttypid, pg_catalog.format('r.%%I', a.attname),
           pg_catalog.format('ONLY %%I.%%I AS r', n.nspname, c.relname)
    FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMAS}
  UNION ALL
    SELECT i.name, part.type, part.value, i.source || part.source
    FROM inside AS i JOIN pg_catalog.pg_type AS t ON t.oid = i.type CROSS JOIN LATERAL (
        SELECT t.typbasetype AS type, i.value, '' AS source WHERE t.typtype = 'd'
      UNION ALL
        SELECT t.typelem, 'u' || pg_catalog.length(i.source)::pg_catalog.text,
               pg_catalog.format(', LATERAL pg_catalog.unnest(%%s) AS u%%s', i.value, pg_catalog.length(i.source))
        WHERE t.typtype = 'b' AND t.typelem <> 0 AND t.typlen = -1
      UNION ALL
        SELECT a.atttypid, pg_catalog.format('(%%s).%%I', i.value, a.attname), '' FROM pg_catalog.pg_attribute AS a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS part)
SELECT i.name, i.value, i.source FROM inside AS i WHERE i.type = %s::pg_catalog.regtype ORDER BY 1, 2
"""
_ROLES = (
    "SELECT DISTINCT o.rolname::pg_catalog.text AS value FROM {source}, pg_catalog.pg_roles AS o WHERE o.oid = {value}"
)
_RIGHTS = "SELECT DISTINCT {value}::pg_catalog.text AS value FROM {source} WHERE {value} IS NOT NULL"
# An index is made after the rows are loaded, and what is temporary or belongs to TOAST is not copied.
_LATER = (
    "SELECT DISTINCT o.oid::pg_catalog.regclass::pg_catalog.text AS value FROM {source}, pg_catalog.pg_class AS o "
    "JOIN pg_catalog.pg_namespace AS n ON n.oid = o.relnamespace WHERE o.oid = {value} "
    "AND (o.relkind IN ('i', 'I') AND n.nspname <> 'pg_catalog' OR o.relpersistence = 't' OR n.nspname = 'pg_toast')"
)
# grantee=rights/grantor. An empty grantee means PUBLIC.
_RIGHT = re.compile(r'("(?:[^"]|"")*"|[^="]*)=[^/]*/(.*)', re.DOTALL)

_AS_TEXT = "make the column text (ALTER TABLE ... ALTER COLUMN ... TYPE text USING ...::text)"


class _Value(TypedDict):
    """A value in a column, as text."""

    column: str
    value: str


class _Right(_Value):
    """A value of type aclitem, and the roles that it names."""

    roles: list[str]


def roles(session: Session) -> list[str]:
    """The names of the roles in such values. A column that takes longer than SECONDS_EACH to read is left out.

    Raises MigrationError ``names_dropped_role`` for a right of a role that no longer exists: PostgreSQL prints its number then.
    """
    named = {found["value"] for found in _found(session, "regrole", _ROLES)}
    rights: list[_Right] = [
        {**found, "roles": _roles_of(found["value"])} for found in _found(session, "aclitem", _RIGHTS)
    ]
    numbers = sorted({name for found in rights for name in found["roles"] if name.isdigit()})
    query = "SELECT rolname::pg_catalog.text AS name FROM pg_catalog.pg_roles WHERE rolname = ANY(%s)"
    dropped = set(numbers) - {row["name"] for row in session.rows(query, [numbers])}
    lost = [found for found in rights if dropped.intersection(found["roles"])]
    if lost:
        raise MigrationError(
            f"The column {lost[0]['column']} has the value {lost[0]['value']} of type aclitem, whose role was dropped: PostgreSQL prints "
            f"its number, and no server can load that. Correct such values on the source, or {_AS_TEXT}, then run again.",
            "names_dropped_role",
            values=lost,
        )
    return sorted(named.union(name for found in rights for name in found["roles"]))


def check_relations(session: Session) -> None:
    """Raise MigrationError ``names_later`` for a value of type regclass whose object the target has only after its rows, or never."""
    found = _found(session, "regclass", _LATER)
    if found:
        first = found[0]
        raise MigrationError(
            f"The column {first['column']} has a value of type regclass that names {first['value']}. When the target loads its rows, it "
            f"has no index yet, and no temporary table. Correct such values on the source, or {_AS_TEXT}, then run again.",
            "names_later",
            values=found,
        )


def _found(session: Session, type_name: str, query: str) -> list[_Value]:
    """Every value of a type."""
    return [
        {"column": place["name"], "value": row["value"]}
        for place in session.rows(_VALUES, [f"pg_catalog.{type_name}"])
        for row in rows_within(session, SECONDS_EACH, query.format(**place)) or []
    ]


def _roles_of(right: str) -> list[str]:
    """The roles of an aclitem as text, without PUBLIC."""
    parts = _RIGHT.fullmatch(right)
    return [part.strip('"').replace('""', '"') for part in parts.groups() if part] if parts else []
