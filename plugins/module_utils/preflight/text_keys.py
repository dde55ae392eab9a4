# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the source: equal keys in unique indexes on text, after the library has changed the order of text.

Such an index finds only some of its rows, so it accepts a key twice. The target builds the index from its rows, and fails.
"""

from __future__ import annotations

from typing import NamedTuple

from ..common.findings import Findings
from ..postgres.identifiers import qualified
from ..postgres.relations import USER_SCHEMAS
from ..postgres.session import Session
from .bounded_query import rows_within

NAME = "keys of text"
SECONDS = 60
# The query must read the table, because the index doesn't find all rows.
_WITHOUT_INDEXES = "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off"
DATABASE_VERSION_SINCE, LIBC_VERSION_SINCE = 150000, 130000
_DATABASE = """
SELECT 'the database' AS name, d.datcollversion AS was, pg_catalog.pg_database_collation_actual_version(d.oid) AS now,
       100 AS oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
"""
_COLLATIONS = """
SELECT o.collname AS name, o.collversion AS was, pg_catalog.pg_collation_actual_version(o.oid) AS now, o.oid::bigint AS oid
FROM pg_catalog.pg_collation AS o WHERE o.collversion IS NOT NULL
"""
_INDEXES = f"""
SELECT n.nspname AS schema, c.relname AS table, x.relname AS name, pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, k, false)
             FROM pg_catalog.generate_series(1, i.indnkeyatts) AS k) AS keys
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.indisunique AND i.indisvalid AND c.relkind = 'r' AND {USER_SCHEMAS}
  AND pg_catalog.string_to_array(i.indcollation::text, ' ')::oid[] && %s::oid[] ORDER BY pg_catalog.pg_table_size(c.oid), 1, 2, 3
"""


class _Collation(NamedTuple):
    """A collation, or the default of the database: its version when it was first used, and the one that the library has now."""

    name: str
    was: str | None
    now: str | None
    oid: int


class _Index(NamedTuple):
    """A row of _INDEXES: a unique index, the expressions of its keys, and its condition."""

    schema: str
    table: str
    name: str
    predicate: str | None
    keys: list[str]

    @property
    def query(self) -> str:
        """The query that finds equal keys."""
        keys = ", ".join(self.keys)
        known = [f"({key}) IS NOT NULL" for key in self.keys] + ([self.predicate] if self.predicate else [])
        return (
            f"SELECT {keys}, count(*) FROM ONLY {qualified(self.schema, self.table)} WHERE {' AND '.join(known)} "
            f"GROUP BY {keys} HAVING count(*) > 1 LIMIT 5"
        )


def examine(session: Session, findings: Findings) -> None:
    """Search for equal keys where a collation has another version than when it was first used, for SECONDS at most for each index."""
    changed = _changed(session)
    if not changed:
        return
    doubled: list[dict[str, str]] = []
    unknown: list[dict[str, str]] = []
    for row in session.rows(_INDEXES, [[one.oid for one in changed]]):
        index = _Index(**row)
        found = rows_within(session, SECONDS, index.query, _WITHOUT_INDEXES)
        if found is None or found:
            listed = {"index": f"{index.schema}.{index.name}", "query": index.query}
            (unknown if found is None else doubled).append(listed)
    versions = ", ".join(f"{one.name}: {one.was}, now {one.now}" for one in changed)
    why = f"The source's library sorts text in another way than when the indexes were built ({versions})."
    if doubled:
        first = doubled[0]
        findings.failure(
            NAME,
            f"{why} The unique index {first['index']} has accepted equal keys, and the target can't build it. Find them with "
            f'"{_WITHOUT_INDEXES}; {first["query"]}", correct the rows, REINDEX the index, then run again.',
            indexes=doubled,
        )
        return
    more = f" Not searched within {SECONDS} s: {', '.join(one['index'] for one in unknown[:5])}." if unknown else ""
    findings.warning(
        NAME,
        f"{why} No equal keys were found in its unique indexes.{more} The target builds all indexes again; the source's may not find "
        "all rows until REINDEX DATABASE there.",
        indexes=unknown,
    )


def _changed(session: Session) -> list[_Collation]:
    """The collations whose version is not the one of their first use. Servers before PostgreSQL 15 don't store it for the database."""
    if session.version < LIBC_VERSION_SINCE:
        return []
    rows = session.rows(_COLLATIONS)
    if session.version >= DATABASE_VERSION_SINCE:
        rows = session.rows(_DATABASE) + rows
    found = [_Collation(**row) for row in rows]
    return [one for one in found if one.was is not None and one.now is not None and one.was != one.now]
