# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find objects that fail with an empty search_path, which pg_restore, digests and REFRESH use.

Each object is tried in a read-only transaction, and a failure is traced to the functions that use names without a schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Iterator, Mapping, NamedTuple, TypedDict

from ..common.errors import MigrationError
from .function_paths import quoted
from .identifiers import qualified, quote
from .matview_graph import Matview
from .relations import USER_SCHEMAS
from .session import Session

SECONDS = 5
SHOWN = 200
# SQLSTATEs of an undefined table, function, column, type or schema: the errors that an empty search_path causes.
UNDEFINED = ("42P01", "42883", "42703", "42704", "3F000")
SUGGESTED = "public, pg_temp"

_DEPENDS = """EXISTS (
    SELECT FROM pg_catalog.pg_depend AS d
    WHERE d.classid = 'pg_catalog.{catalog}'::regclass AND d.objid = {oid}
      AND d.refclassid = 'pg_catalog.pg_proc'::regclass AND d.refobjid >= 16384)"""

# Expressions of tables that call functions, evaluated when rows are inserted or indexes are built. Partitioned tables are read without
# ONLY, because their rows are in the partitions.
_EXPRESSIONS = f"""
SELECT 'index' AS kind, n.nspname || '.' || c.relname AS name, i.indexrelid::bigint AS oid, 'pg_class' AS catalog,
       tn.nspname AS table_schema, t.relname AS table_name, 'ONLY ' AS of_table,
       pg_catalog.concat_ws(', ', pg_catalog.pg_get_expr(i.indexprs, i.indrelid),
                            pg_catalog.pg_get_expr(i.indpred, i.indrelid)) AS expressions
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid AND t.relkind IN ('r', 'm')
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE {USER_SCHEMAS} AND {_DEPENDS.format(catalog="pg_class", oid="i.indexrelid")}
UNION ALL
SELECT 'constraint', n.nspname || '.' || c.relname || ': ' || k.conname, k.oid::bigint, 'pg_constraint',
       n.nspname, c.relname, 'ONLY ', pg_catalog.pg_get_expr(k.conbin, k.conrelid)
FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype = 'c' AND {USER_SCHEMAS} AND {_DEPENDS.format(catalog="pg_constraint", oid="k.oid")}
UNION ALL
SELECT 'generated column', n.nspname || '.' || c.relname || ': ' || a.attname, f.oid::bigint, 'pg_attrdef',
       n.nspname, c.relname, 'ONLY ', pg_catalog.pg_get_expr(f.adbin, f.adrelid)
FROM pg_catalog.pg_attrdef AS f JOIN pg_catalog.pg_class AS c ON c.oid = f.adrelid AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
WHERE coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '' AND {USER_SCHEMAS}
  AND {_DEPENDS.format(catalog="pg_attrdef", oid="f.oid")}
UNION ALL
SELECT 'partition key', n.nspname || '.' || c.relname, c.oid::bigint, 'pg_class',
       n.nspname, c.relname, '', pg_catalog.pg_get_expr(p.partexprs, p.partrelid)
FROM pg_catalog.pg_partitioned_table AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.partrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.partexprs IS NOT NULL AND {USER_SCHEMAS} AND {_DEPENDS.format(catalog="pg_class", oid="c.oid")}
UNION ALL
SELECT 'domain', n.nspname || '.' || t.typname || ': ' || k.conname, k.oid::bigint, 'pg_constraint', s.nspname, c.relname, 'ONLY ',
       pg_catalog.format('%I::%s::%I.%I', a.attname, pg_catalog.format_type(t.typbasetype, t.typtypmod), n.nspname, t.typname)
FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_type AS t ON t.oid = k.contypid
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace JOIN pg_catalog.pg_attribute AS a ON a.atttypid = t.oid AND NOT a.attisdropped
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r' JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
WHERE k.contype = 'c' AND {USER_SCHEMAS} AND {_DEPENDS.format(catalog="pg_constraint", oid="k.oid")}
ORDER BY 1, 2
"""

# Functions without a search_path setting: those that the object, or a view that it reads, calls, and those that the error names. The error
# may name a function of an index, because planning a query also plans the indexes of its tables.
_FUNCTIONS = """
WITH RECURSIVE rule(oid) AS (
    SELECT oid FROM pg_catalog.pg_rewrite WHERE ev_class = %(oid)s AND %(catalog)s = 'pg_rewrite'
  UNION
    SELECT inner_rule.oid
    FROM rule JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = rule.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass
    JOIN pg_catalog.pg_class AS c ON c.oid = d.refobjid AND c.relkind = 'v'
    JOIN pg_catalog.pg_rewrite AS inner_rule ON inner_rule.ev_class = c.oid
), object(classid, objid) AS (
    SELECT 'pg_catalog.pg_rewrite'::regclass::oid, oid FROM rule
  UNION ALL
    SELECT ('pg_catalog.' || %(catalog)s)::regclass::oid, %(oid)s::oid WHERE %(catalog)s <> 'pg_rewrite'
)
SELECT DISTINCT p.oid::regprocedure::text AS function, p.proname AS name, (
    SELECT x.extname FROM pg_catalog.pg_depend AS e JOIN pg_catalog.pg_extension AS x ON x.oid = e.refobjid
    WHERE e.classid = 'pg_catalog.pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e') AS extension,
    c.oid IS NOT NULL AS called
FROM pg_catalog.pg_proc AS p LEFT JOIN (
    SELECT d.refobjid AS oid FROM object JOIN pg_catalog.pg_depend AS d ON d.classid = object.classid AND d.objid = object.objid
    AND d.refclassid = 'pg_catalog.pg_proc'::regclass) AS c ON c.oid = p.oid
WHERE p.oid >= 16384 AND (c.oid IS NOT NULL OR p.proname = ANY(%(named)s))
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS s WHERE s LIKE 'search_path=%%')
ORDER BY 1
"""

# The name of a function in the context of an error: quoted, or before its arguments.
_NAMED = re.compile(r'function "([^"]+)"|function (?:[^\s("]+\.|"[^"]+"\.)?"?([^\s(".]+)"?\(')


class HazardDocument(TypedDict):
    """A ``Hazard`` as JSON."""

    kind: str
    object: str
    reason: str
    context: str
    functions: list[str]
    extensions: list[str]
    fixed: bool
    remedy: str


@dataclass(frozen=True)
class Hazard:
    """An object that fails with an empty search_path.

    functions: functions whose own search_path setting would fix it.
    members: those of ``functions`` that belong to an extension; pg_dump doesn't dump a setting of these.
    extensions: the extensions of ``functions``, if each belongs to one; the target may have versions without the fault.
    suggested: a search_path with which a trial of the object succeeded; empty when none was found.
    fixed: whether a trial of the object succeeded with the operator's ``function_search_path``.
    """

    kind: str
    name: str
    reason: str
    context: str
    functions: tuple[str, ...]
    members: tuple[str, ...]
    extensions: tuple[str, ...]
    suggested: str
    fixed: bool

    def as_dict(self) -> HazardDocument:
        """The object as JSON types."""
        return {
            "kind": self.kind,
            "object": self.name,
            "reason": self.reason,
            "context": self.context,
            "functions": list(self.functions),
            "extensions": list(self.extensions),
            "fixed": self.fixed,
            "remedy": self.remedy,
        }

    @property
    def remedy(self) -> str:
        """What to do, with statements to paste."""
        if not self.functions or not self.suggested:
            return "Add the schema to the names in its definition on the source."
        paths = ", ".join("'" + function.replace("'", "''") + f"': '{self.suggested}'" for function in self.functions)
        on_the_target = f"couch2pg_function_search_path: {{{paths}}}"
        if self.members:
            return (
                f"Let the restore set a search_path on the target ({on_the_target}); pg_dump doesn't dump such a setting of "
                "a function that belongs to an extension."
            )
        altered = "; ".join(f"ALTER FUNCTION {name} SET search_path = {self.suggested}" for name in self.functions)
        return (
            f"Set search_path on that function on the source ({altered}), or let the restore set it on the target only "
            f"({on_the_target})."
        )


class _Expression(NamedTuple):
    """A row of _EXPRESSIONS. of_table: ``ONLY``, or empty, before the name of the table."""

    kind: str
    name: str
    oid: int
    catalog: str
    table_schema: str
    table_name: str
    of_table: str
    expressions: str


def of_matviews(session: Session, matviews: list[Matview], paths: Mapping[str, str]) -> list[Hazard]:
    """Materialized views that a REFRESH with an empty search_path can't populate; each is tried for at most SECONDS."""
    found = []
    for matview in matviews[:SHOWN]:
        query = f"SELECT * FROM ({matview.definition.rstrip().rstrip(';')}) AS tried LIMIT 1"
        error = _try(session, query)
        if error is None:
            continue
        hazard = _hazard(session, ("matview", matview.key, matview.oid, "pg_rewrite"), query, error, paths)
        # When no function is called and no search_path helps, the error has another cause, such as a foreign server.
        if hazard.functions or hazard.suggested:
            found.append(hazard)
    return found


def of_tables(session: Session, paths: Mapping[str, str]) -> list[Hazard]:
    """Indexes, constraints and generated columns that pg_restore could not restore."""
    rows = [_Expression(**row) for row in session.rows(_EXPRESSIONS)[:SHOWN]]
    return list(_of_expressions(session, rows, paths))


def _of_expressions(session: Session, rows: Iterable[_Expression], paths: Mapping[str, str]) -> Iterator[Hazard]:
    # Planning a query on a table plans the expressions of all its indexes, so try each expression without the table first. It is tried on a
    # row with the table's name and type, because an expression may use the whole row.
    blamed: set[str] = set()
    for source in ("pg_catalog.unnest(ARRAY[NULL::{table}]) AS {name}", "{of_table}{table} LIMIT 1"):
        known = set(blamed)
        for row in rows:
            table = qualified(row.table_schema, row.table_name)
            place = source.format(table=table, of_table=row.of_table, name=quote(row.table_name))
            query = f"SELECT {row.expressions} FROM {place}"
            error = None if table in known else _try(session, query)
            if error is not None:
                blamed.add(table)
                yield _hazard(session, (row.kind, row.name, row.oid, row.catalog), query, error, paths)


def _hazard(
    session: Session, what: tuple[str, str, int, str], query: str, error: MigrationError, paths: Mapping[str, str]
) -> Hazard:
    kind, name, oid, catalog = what
    context = error.details.get("context") or ""
    # The error's context names the functions that ran. If it names none, any of the called functions may be the cause.
    named = [quoted_name or name for quoted_name, name in _NAMED.findall(context)]
    found = session.rows(_FUNCTIONS, {"oid": oid, "catalog": catalog, "named": named})  # type: ignore[arg-type]
    told = [row for row in found if row["name"] in named]
    rows = [row for row in told if row["called"]] or told or [row for row in found if row["called"]]
    functions = tuple(row["function"] for row in rows)
    members = tuple(row["function"] for row in rows if row["extension"])
    extensions = tuple(sorted({row["extension"] for row in rows})) if len(members) == len(rows) else ()
    fixed = bool(functions) and all(function in paths for function in functions)
    if fixed:
        fixed = all(_try(session, query, paths[function]) is None for function in functions)
    suggested = next((path for path in _paths(session) if _try(session, query, path) is None), "")
    return Hazard(kind, name, error.message, context, functions, members, extensions, suggested, fixed)


def _paths(session: Session) -> tuple[str, ...]:
    """Candidates for a function's search_path: the usual one, and the one that the role has in this database."""
    session.execute("BEGIN TRANSACTION READ ONLY")
    session.execute("RESET search_path")
    schemas = session.value("SELECT pg_catalog.current_schemas(false)")
    session.execute("ROLLBACK")
    return SUGGESTED, ", ".join([*map(quote, schemas), "pg_temp"])


def _try(session: Session, query: str, search_path: str = "") -> MigrationError | None:
    """The error of a query that fails because of its search_path; None for success, a timeout and every other error."""
    session.execute("BEGIN TRANSACTION READ ONLY")
    try:
        session.execute(f"SET LOCAL statement_timeout = '{SECONDS}s'")
        if search_path:
            session.execute(f"SET LOCAL search_path = {quoted('the function', search_path)}")
        session.execute(query)
    except MigrationError as error:
        if error.details.get("sqlstate") in UNDEFINED:
            return error
        if error.code != "sql":
            raise
    finally:
        session.execute("ROLLBACK")
    return None
