# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the source: values that name objects (types such as regclass and regrole), which the target must have to load them."""

from __future__ import annotations

from typing import Any

from ..common.errors import MigrationError
from ..postgres.connection import Session
from ..postgres.relations import USER_SCHEMAS
from .bounded_query import rows_within

SECONDS_EACH = 5
_COLUMNS = f"""
SELECT n.nspname || '.' || c.relname || '.' || a.attname AS name, b.typname = 'regrole' AS of_role,
       CASE b.typname WHEN 'regrole'
           THEN pg_catalog.format('SELECT DISTINCT o.rolname::pg_catalog.text AS value FROM ONLY %I.%I AS r '
               || 'JOIN pg_catalog.pg_roles AS o ON o.oid = r.%I', n.nspname, c.relname, a.attname)
           ELSE pg_catalog.format('SELECT DISTINCT o.oid::pg_catalog.regclass::pg_catalog.text AS value FROM ONLY %I.%I AS r '
               || 'JOIN pg_catalog.pg_class AS o ON o.oid = r.%I', n.nspname, c.relname, a.attname)
       END AS query
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type AS b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
WHERE b.oid IN ('pg_catalog.regrole'::pg_catalog.regtype, 'pg_catalog.regclass'::pg_catalog.regtype)
  AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMAS} ORDER BY 1
"""
# An index is made after the rows are loaded, and what is temporary or belongs to TOAST is not copied.
_LATER = (
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = o.relnamespace WHERE o.relkind IN ('i', 'I') AND n.nspname <> 'pg_catalog' "
    "OR o.relpersistence = 't' OR n.nspname = 'pg_toast'"
)


def roles(session: Session) -> list[str]:
    """The names of the roles that values of type regrole name. Columns whose reading takes long are left out."""
    named: set[str] = set()
    for row in session.rows(_COLUMNS):
        if row["of_role"]:
            named.update(value["value"] for value in rows_within(session, SECONDS_EACH, row["query"]) or [])
    return sorted(named)


def check_relations(session: Session) -> None:
    """Raise MigrationError ``names_later`` for a value of type regclass that names what the target has only after its rows, or never."""
    found: list[dict[str, Any]] = []
    for row in session.rows(_COLUMNS):
        if not row["of_role"]:
            later = rows_within(session, SECONDS_EACH, row["query"] + _LATER) or []
            found += [{"column": row["name"], "value": value["value"]} for value in later]
    if found:
        first = found[0]
        raise MigrationError(
            f"The column {first['column']} has a value of type regclass that names {first['value']}. When the target loads its rows, it "
            "has no index yet, and no temporary table. Correct such values on the source, or make the column text "
            "(ALTER TABLE ... ALTER COLUMN ... TYPE text USING ...::text), then run again.",
            "names_later",
            values=found,
        )
