# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the source: rows that break a constraint of their own table, so that the target can't load them.

Only constraints whose result can change are tried: those that call a user's function, or read the time or another setting.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from ..common.findings import Findings
from ..postgres.identifiers import qualified, quote
from ..postgres.relations import USER_SCHEMAS
from ..postgres.session import Session
from .bounded_query import rows_within

NAME = "constraints"
SECONDS_EACH, SECONDS = 5, 60
# Otherwise the planner trusts a validated constraint, and finds no row that breaks it.
_ALL_TABLES = "SET constraint_exclusion = off"
_CHECKS = f"""
SELECT n.nspname AS schema, c.relname AS table, k.conname AS name, pg_catalog.pg_get_expr(k.conbin, k.conrelid) AS expression,
       pg_catalog.pg_get_constraintdef(k.oid) AS definition
FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype = 'c' AND k.convalidated AND k.coninhcount = 0 AND {USER_SCHEMAS} AND (k.conbin::text ~ 'SQLVALUEFUNCTION' OR EXISTS (
    SELECT FROM pg_catalog.regexp_matches(k.conbin::text, ':(?:op)?funcid (\\d+)', 'g') AS f(part)
    JOIN pg_catalog.pg_proc AS p ON p.oid = f.part[1]::pg_catalog.oid JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    WHERE p.provolatile <> 'i' OR p.oid >= 16384 AND l.lanname NOT IN ('internal', 'c')))
ORDER BY pg_catalog.pg_table_size(c.oid), 1, 2, 3
"""


class _Constraint(NamedTuple):
    """A row of _CHECKS."""

    schema: str
    table: str
    name: str
    expression: str
    definition: str

    def is_broken(self, session: Session) -> bool:
        """Whether a row breaks it. A query that fails or waits for a lock finds nothing here, because other checks report that."""
        query = f"SELECT 1 FROM {qualified(self.schema, self.table)} WHERE NOT ({self.expression}) LIMIT 1"
        return bool(rows_within(session, SECONDS_EACH, query, _ALL_TABLES))


def examine(session: Session, findings: Findings) -> None:
    """Search for such rows, for SECONDS at most. A constraint whose query takes longer than SECONDS_EACH is skipped."""
    until = time.monotonic() + SECONDS
    constraints = [_Constraint(**row) for row in session.rows(_CHECKS)]
    broken = [one for one in constraints if time.monotonic() < until and one.is_broken(session)]
    if not broken:
        return
    first = broken[0]
    table, name = qualified(first.schema, first.table), quote(first.name)
    more = f" The same holds for {', '.join(one.name for one in broken[1:5])}." if len(broken) > 1 else ""
    findings.failure(
        NAME,
        f"Rows of {table} break their own constraint {first.name}, so that the target can't load them. Find them with "
        f'"{_ALL_TABLES}; SELECT * FROM {table} WHERE NOT ({first.expression})" and correct them on the source. Or let the constraint '
        f'be restored after the rows: on the source, "ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} '
        f'{first.definition} NOT VALID". Then run again.{more}',
        constraints=[one._asdict() for one in broken],
    )
