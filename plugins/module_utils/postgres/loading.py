# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the sessions that load rows and build indexes."""

from __future__ import annotations

from . import session_settings
from .session import Session

# Tables whose rows are checked by a function in an SQL or procedural language when they are loaded: by a constraint of the table or of a
# domain, a generated column, or the key of its partitions. The function may read rows of other tables.
_CHECKED = """
WITH RECURSIVE calls(classid, objid, objsubid) AS (
    SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_proc AS p ON p.oid = d.refobjid
    JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid >= 16384 AND l.lanname NOT IN ('internal', 'c')
), constraints AS (
    SELECT k.conrelid, k.contypid FROM calls JOIN pg_catalog.pg_constraint AS k
        ON calls.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = calls.objid AND k.contype = 'c'
), type_checked(oid) AS (
    SELECT contypid FROM constraints WHERE contypid <> 0
  UNION
    SELECT outer_type.oid FROM type_checked AS i CROSS JOIN LATERAL (
        SELECT t.oid FROM pg_catalog.pg_type AS t WHERE i.oid IN (t.typelem, t.typbasetype)
        UNION ALL SELECT c.reltype FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
                  WHERE a.atttypid = i.oid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range AS r WHERE r.rngsubtype = i.oid
        UNION ALL SELECT (to_jsonb(r) ->> 'rngmultitypid')::pg_catalog.oid FROM pg_catalog.pg_range AS r WHERE r.rngtypid = i.oid
    ) AS outer_type(oid) WHERE outer_type.oid <> 0
), checked(oid) AS (
    SELECT conrelid FROM constraints
  UNION
    SELECT f.adrelid FROM calls JOIN pg_catalog.pg_attrdef AS f ON calls.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
        AND f.oid = calls.objid
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    WHERE coalesce(to_jsonb(a) ->> 'attgenerated', '') <> ''
  UNION
    -- Before PostgreSQL 15, the column itself depends on what its expression calls.
    SELECT a.attrelid FROM calls JOIN pg_catalog.pg_attribute AS a ON calls.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND a.attrelid = calls.objid AND a.attnum = calls.objsubid
    WHERE coalesce(to_jsonb(a) ->> 'attgenerated', '') <> ''
  UNION
    SELECT a.attrelid FROM type_checked AS t JOIN pg_catalog.pg_attribute AS a ON a.atttypid = t.oid AND NOT a.attisdropped
  UNION
    SELECT p.partrelid FROM calls JOIN pg_catalog.pg_partitioned_table AS p
        ON calls.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.partrelid = calls.objid
  UNION
    SELECT i.inhrelid FROM checked AS c JOIN pg_catalog.pg_inherits AS i ON i.inhparent = c.oid
    JOIN pg_catalog.pg_class AS p ON p.oid = i.inhrelid AND p.relispartition
)
SELECT c.oid::bigint AS oid FROM checked JOIN pg_catalog.pg_class AS c ON c.oid = checked.oid WHERE c.relkind = 'r'
"""
# The load ends with one synchronous commit, which makes all others durable.
SETTINGS = {"synchronous_commit": "off"}


def last(session: Session) -> set[int]:
    """The oids of the tables that are loaded after all others, because what checks their rows may read the others."""
    return {row["oid"] for row in session.rows(_CHECKED)}


def apply(session: Session) -> None:
    """Give the session ``SETTINGS``, and reset settings that a CHECK constraint may depend on to those of the database."""
    for name in session_settings.CHECKED:
        session.execute(f"RESET {name}")
    for name, value in SETTINGS.items():
        session.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])
