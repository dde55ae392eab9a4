# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the source: rows that break their own foreign key, which the target refuses when it creates the key.

Such rows were inserted while a trigger was disabled, or with session_replication_role.
"""

from __future__ import annotations

import time
from typing import NamedTuple, TypedDict

from ..common.findings import Findings
from ..postgres.identifiers import qualified, quote
from ..postgres.relations import USER_SCHEMAS
from ..postgres.session import Session
from .bounded_query import rows_within

NAME = "foreign keys"
SECONDS_EACH, SECONDS = 5, 60
_KEYS = f"""
SELECT n.nspname AS schema, c.relname AS table, k.conname AS name, pg_catalog.pg_get_constraintdef(k.oid) AS definition,
       tn.nspname AS other_schema, t.relname AS other_table, c.relkind = 'p' OR t.relkind = 'p' AS partitioned,
       coalesce((to_jsonb(k) ->> 'conperiod')::pg_catalog.bool, false) AS of_time, ARRAY(
           SELECT jsonb_build_object('own', a.attname, 'other', b.attname, 'schema', o.nspname, 'operator', p.oprname)
           FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop))
               AS u(own, other, operator)
           JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.own
           JOIN pg_catalog.pg_attribute AS b ON b.attrelid = k.confrelid AND b.attnum = u.other
           JOIN pg_catalog.pg_operator AS p ON p.oid = u.operator JOIN pg_catalog.pg_namespace AS o ON o.oid = p.oprnamespace
       ) AS columns
FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class AS t ON t.oid = k.confrelid
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE k.contype = 'f' AND k.convalidated AND coalesce((to_jsonb(k) ->> 'conparentid')::pg_catalog.oid, 0) = 0 AND {USER_SCHEMAS}
ORDER BY pg_catalog.pg_table_size(c.oid), 1, 2, 3
"""


class _Pair(TypedDict):
    """A column of a key, the column that it refers to, and the operator, with its schema, by which they are equal."""

    own: str
    other: str
    schema: str
    operator: str


class _Key(NamedTuple):
    """A row of _KEYS. of_time: whether its last column is a period, which one or more rows must cover (since PostgreSQL 18)."""

    schema: str
    table: str
    name: str
    definition: str
    other_schema: str
    other_table: str
    partitioned: bool
    of_time: bool
    columns: list[_Pair]

    @property
    def query(self) -> str:
        """The query that finds the rows that break it."""
        equal = " AND ".join(
            f"o.{quote(pair['other'])} OPERATOR({quote(pair['schema'])}.{pair['operator']}) r.{quote(pair['own'])}"
            for pair in self.columns
        )
        known = " AND ".join(f"r.{quote(pair['own'])} IS NOT NULL" for pair in self.columns)
        own, other = qualified(self.schema, self.table), qualified(self.other_schema, self.other_table)
        only = "" if self.partitioned else "ONLY "
        there = f"EXISTS (SELECT FROM {only}{other} AS o WHERE {equal})"
        if self.of_time:
            period, covering = quote(self.columns[-1]["own"]), quote(self.columns[-1]["other"])
            covered = f"pg_catalog.range_agg(o.{covering}) OPERATOR(pg_catalog.@>) r.{period}"
            there = f"coalesce((SELECT {covered} FROM {only}{other} AS o WHERE {equal}), false)"
        return f"SELECT r.* FROM {only}{own} AS r WHERE {known} AND NOT {there}"


def examine(session: Session, findings: Findings) -> None:
    """Search for such rows, for SECONDS at most. A key whose query takes longer than SECONDS_EACH is skipped."""
    until = time.monotonic() + SECONDS
    keys = [_Key(**row) for row in session.rows(_KEYS)]
    broken = [
        key for key in keys if time.monotonic() < until and rows_within(session, SECONDS_EACH, f"{key.query} LIMIT 1")
    ]
    if not broken:
        return
    first = broken[0]
    table, name = qualified(first.schema, first.table), quote(first.name)
    unchecked = (
        ""
        if first.partitioned
        else f' Or let the target not check them: on the source, "ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} '
        f'{first.definition} NOT VALID".'
    )
    more = f" The same holds for {', '.join(key.name for key in broken[1:5])}." if len(broken) > 1 else ""
    findings.failure(
        NAME,
        f"Rows of {table} break their own foreign key {first.name}, so that the target can't create it. Find them with "
        f'"{first.query}" and correct or delete them on the source.{unchecked} Then run again.{more}',
        keys=[{"schema": key.schema, "table": key.table, "name": key.name, "query": key.query} for key in broken],
    )
