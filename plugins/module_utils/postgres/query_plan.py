# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare two servers' plans of a query and advise why one is slower; conditions, which may contain data, are left out."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, TypedDict, cast

from .identifiers import qualified, quote
from .session import Session

_RELATIONS = """
SELECT n.nspname AS schema, c.relname AS name, c.reltuples::bigint AS estimated_rows,
       pg_catalog.pg_relation_size(c.oid) > 0 AS filled,
       EXISTS (SELECT FROM pg_catalog.pg_stats AS t WHERE t.schemaname = n.nspname AND t.tablename = c.relname) AS statistics,
       (SELECT greatest(s.last_analyze, s.last_autoanalyze)::text FROM pg_catalog.pg_stat_all_tables AS s
        WHERE s.relid = c.oid) AS last_analyze,
       coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                    'name', i.relname, 'valid', x.indisvalid, 'definition', pg_catalog.pg_get_indexdef(i.oid)) ORDER BY i.relname)
                 FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
                 WHERE x.indrelid = c.oid), '[]') AS indexes
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE (n.nspname, c.relname) IN (SELECT * FROM ROWS FROM (pg_catalog.unnest(%s), pg_catalog.unnest(%s)) AS u(s, r))
ORDER BY 1, 2
"""


class PlanStep(TypedDict):
    """A node of a plan: how deep it is below the first one, its type, its relation and index, and the rows that it returned."""

    depth: int
    node: str
    schema: str | None
    relation: str | None
    index: str | None
    rows: float | None


class Index(TypedDict):
    """An index of a relation, and the statement that creates it."""

    name: str
    valid: bool
    definition: str


class Relation(TypedDict):
    """A row of _RELATIONS. estimated_rows: negative without an ANALYZE; filled: it has pages; statistics: it was analyzed."""

    schema: str
    name: str
    estimated_rows: int
    filled: bool
    statistics: bool
    last_analyze: str | None
    indexes: list[Index]


class Explained(TypedDict, total=False):
    """The plan of a query on one side, and the relations in it."""

    plan: list[PlanStep]
    relations: list[Relation]


def steps(plan: Mapping[str, Any], depth: int = 0) -> Iterator[PlanStep]:
    """The nodes of a plan in JSON format, outer nodes first: node type, relation, index, rows; no conditions."""
    relation = plan.get("Relation Name")
    yield {
        "depth": depth,
        "node": str(plan.get("Node Type", "")),
        "schema": plan.get("Schema") if relation else None,
        "relation": relation,
        "index": plan.get("Index Name"),
        "rows": plan.get("Actual Rows"),
    }
    for child in plan.get("Plans", []):
        yield from steps(child, depth + 1)


def relations(session: Session, plan: list[PlanStep]) -> list[Relation]:
    """Statistics and indexes of the relations in ``plan``, the result of ``steps``."""
    pairs = sorted({(step["schema"], step["relation"]) for step in plan if step["relation"] and step["schema"]})
    if not pairs:
        return []
    names = [[schema for schema, _name in pairs], [name for _schema, name in pairs]]
    return cast("list[Relation]", session.rows(_RELATIONS, names))


def advice(source: Explained, target: Explained) -> list[str]:
    """Possible reasons why the target is slower, each with a remedy."""
    found = []
    ours, theirs = _by_name(source), _by_name(target)
    used = {step["index"] for step in source["plan"] if step["index"]}
    for name, relation in sorted(theirs.items()):
        if relation["estimated_rows"] < 0 or (relation["filled"] and not relation["statistics"]):
            found.append(
                f"{name} was never analyzed on the target, so the planner has no statistics. On the target, run: "
                f"ANALYZE {qualified(relation['schema'], relation['name'])};"
            )
        found += [
            f"The index {index['name']} of {name} is invalid on the target. On the target, run: "
            f"REINDEX INDEX {qualified(relation['schema'], index['name'])};"
            for index in relation["indexes"]
            if not index["valid"]
        ]
    for name, relation in sorted(ours.items()):
        there = {index["name"] for index in theirs[name]["indexes"]} if name in theirs else None
        found += [
            f"The index {index['name']} of {name}, which the source uses, is missing on the target. On the target, run: "
            f"{index['definition']};"
            for index in relation["indexes"]
            if there is not None and index["name"] in used and index["name"] not in there
        ]
    return found or [_compare_plans(source["plan"], target["plan"])]


def _by_name(side: Explained) -> dict[str, Relation]:
    return {f"{row['schema']}.{row['name']}": row for row in side["relations"]}


def _compare_plans(source: list[PlanStep], target: list[PlanStep]) -> str:
    ours, theirs = _access_methods(source), _access_methods(target)
    for name in sorted(set(ours) & set(theirs)):
        if ours[name] != theirs[name]:
            return (
                f"The source reads {name} with {ours[name]}, the target with {theirs[name]}. "
                "Compare random_page_cost, effective_cache_size and work_mem of both servers."
            )
    if ours != theirs or [step["node"] for step in source] != [step["node"] for step in target]:
        return "The servers use different plans. Compare work_mem, jit and max_parallel_workers_per_gather of both."
    return "The servers use the same plan. Compare their shared_buffers and disks, and check the target for other load."


def _access_methods(plan: list[PlanStep]) -> dict[str, str]:
    """The plan node that reads each relation, with its index."""
    return {
        f"{step['schema']}.{step['relation']}": step["node"] + (f" on {quote(step['index'])}" if step["index"] else "")
        for step in plan
        if step["relation"]
    }
