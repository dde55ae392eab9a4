# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Columns whose values are rows of a table that has its columns in another order after a restore.

pg_dump puts the inherited columns of a child table first. It prints a value of the child's row type without column names, so the restore
would read its fields as the wrong columns.
"""

from __future__ import annotations

from typing import TypedDict, cast

from .relations import USER_SCHEMAS
from .session import Session

_PARENTS = """
SELECT i.inhrelid::bigint AS child, i.inhparent::bigint AS parent
FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
WHERE c.relkind IN ('r', 'f') AND NOT c.relispartition ORDER BY i.inhrelid, i.inhseqno
"""
_COLUMNS = """
SELECT a.attrelid::bigint AS table, a.attname AS name FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""
# In a recursive query ``part(root, type)``: the types that a type is made of (elements, bases, fields, bounds).
PARTS = """
    SELECT part.root, inner_type.oid FROM part JOIN pg_catalog.pg_type AS t ON t.oid = part.type
    JOIN LATERAL (
        SELECT t.typelem UNION ALL SELECT t.typbasetype
        UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute AS a
                  WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range AS r WHERE r.rngtypid = t.oid
        UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range AS r WHERE to_jsonb(r) ->> 'rngmultitypid' = t.oid::text
    ) AS inner_type(oid) ON inner_type.oid <> 0
"""
# Every stored column, with the types that it is made of.
_HOLDERS = f"""
WITH RECURSIVE part(root, type) AS (
    SELECT oid, oid FROM pg_catalog.pg_type
  UNION
{PARTS})
SELECT n.nspname || '.' || c.relname || '.' || a.attname AS column, of.typrelid::bigint AS table,
       of.typrelid::pg_catalog.regclass::text AS name
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN part ON part.root = a.atttypid JOIN pg_catalog.pg_type AS of ON of.oid = part.type
WHERE of.typrelid = ANY(%s::oid[]) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMAS} ORDER BY 1, 2
"""


class ReorderedColumn(TypedDict):
    """A stored column with rows of a table. table: its oid; name: its name; order: the names of its columns after a restore."""

    column: str
    table: int
    name: str
    order: list[str]


def reordered(session: Session) -> list[ReorderedColumn]:
    """The columns with rows of a table whose columns get another order."""
    parents: dict[int, list[int]] = {}
    for row in session.rows(_PARENTS):
        parents.setdefault(row["child"], []).append(row["parent"])
    if not parents:
        return []
    columns: dict[int, list[str]] = {}
    for row in session.rows(_COLUMNS, [sorted({*parents, *(one for some in parents.values() for one in some)})]):
        columns.setdefault(row["table"], []).append(row["name"])
    orders = {child: _restored(child, parents, columns) for child in parents}
    changed = [child for child, order in orders.items() if order != columns.get(child, [])]
    if not changed:
        return []
    rows = session.rows(_HOLDERS, [changed])
    return cast("list[ReorderedColumn]", [{**row, "order": orders[row["table"]]} for row in rows])


def _restored(table: int, parents: dict[int, list[int]], columns: dict[int, list[str]]) -> list[str]:
    inherited = [name for parent in parents.get(table, []) for name in _restored(parent, parents, columns)]
    return list(dict.fromkeys([*inherited, *columns.get(table, [])]))
