# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and sequences whose content is not in WAL: a standby has none of it, and neither has a copy of files after its recovery."""

from __future__ import annotations

from .relations import USER_SCHEMAS
from .session import Session

# A sequence of a table becomes logged with the table.
_UNLOGGED = f"""
SELECT n.nspname || '.' || c.relname AS name,
       pg_catalog.format('ALTER %s %I.%I SET LOGGED;', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname)
           AS statement
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relpersistence = 'u' AND c.relkind IN ('r', 'S') AND {USER_SCHEMAS} AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
    AND c.relkind = 'S' AND d.deptype IN ('a', 'i')) ORDER BY 1
"""


def find(session: Session) -> dict[str, str]:
    """The statement that puts the content into WAL, by the name of each table and sequence (``schema.name``)."""
    return {row["name"]: row["statement"] for row in session.rows(_UNLOGGED)}
