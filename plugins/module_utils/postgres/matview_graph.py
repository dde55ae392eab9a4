# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Materialized views and their dependencies on each other, directly or through plain views."""

from __future__ import annotations

from dataclasses import dataclass

from .identifiers import qualified, shown
from .session import Session

_MATVIEWS = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       c.relispopulated AS populated, pg_catalog.pg_table_size(c.oid) AS bytes,
       EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
               AND i.indpred IS NULL AND i.indexprs IS NULL) AS has_unique_index,
       pg_catalog.pg_get_viewdef(c.oid) AS definition
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' ORDER BY n.nspname, c.relname
"""

_READS = """
SELECT DISTINCT r.ev_class::bigint AS reader, d.refobjid::bigint AS read
FROM pg_catalog.pg_rewrite AS r
JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
JOIN pg_catalog.pg_class AS c ON c.oid = d.refobjid AND c.relkind IN ('v', 'm')
-- What rules for changes of a view read doesn't count.
WHERE r.ev_type = '1'
"""


@dataclass(frozen=True)
class Matview:
    """A materialized view. ``depends_on``: keys of the materialized views that it reads; ``bytes`` includes TOAST."""

    oid: int
    schema: str
    name: str
    owner: str
    populated: bool
    bytes: int
    has_unique_index: bool
    definition: str
    depends_on: tuple[str, ...]

    @property
    def key(self) -> str:
        """``schema.name``."""
        return shown(self.schema, self.name)


def read_graph(session: Session) -> list[Matview]:
    """Every materialized view of the session's database.

    ``depends_on`` doesn't include relations that are read inside functions, because the catalog doesn't record them.
    """
    rows = session.rows(_MATVIEWS)
    names = {row["oid"]: shown(row["schema"], row["name"]) for row in rows}
    reads: dict[int, set[int]] = {}
    for edge in session.rows(_READS):
        reads.setdefault(edge["reader"], set()).add(edge["read"])
    return [
        Matview(**row, depends_on=tuple(sorted(names[oid] for oid in reached(reads, row["oid"]) if oid in names)))
        for row in rows
    ]


def reached(reads: dict[int, set[int]], start: int) -> set[int]:
    """All relations that ``start`` reads, directly or through others."""
    found: set[int] = set()
    waiting = list(reads.get(start, ()))
    while waiting:
        oid = waiting.pop()
        if oid not in found:
            found.add(oid)
            waiting.extend(reads.get(oid, ()))
    return found


def order(matviews: list[Matview]) -> list[list[str]]:
    """Keys in levels: the views of a level read only views of earlier levels."""
    waiting = {matview.key: set(matview.depends_on) for matview in matviews}
    levels: list[list[str]] = []
    while waiting:
        # CREATE OR REPLACE VIEW can create a cycle: a view that reads its own reader. A cycle has no order, so all remaining views become
        # one level.
        ready = sorted(key for key, needs in waiting.items() if not needs & set(waiting)) or sorted(waiting)
        levels.append(ready)
        for key in ready:
            del waiting[key]
    return levels


def statements_that_populate(session: Session) -> list[str]:
    """Statements that populate what is not populated, each view after those that it reads."""
    found = {matview.key: matview for matview in read_graph(session)}
    return [
        f"REFRESH MATERIALIZED VIEW {qualified(found[key].schema, found[key].name)};"
        for level in order(list(found.values()))
        for key in level
        if not found[key].populated
    ]
