# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the answers of source and target to the queries of dashboards."""

from __future__ import annotations

from typing import TypedDict

from ..common.counted import counted, plural
from ..common.errors import MigrationError
from ..postgres import query_plan
from .dashboard_query import Answer
from .result_digest import ResultDigests, differing_rows


class ComparedSide(TypedDict, total=False):
    """The numbers of one side, or the code of its error."""

    rows: int
    milliseconds: float
    newest_age_hours: float | None
    error: str


class ComparedQuery(TypedDict):
    """The comparison of a query: its status, problems and advice, and the numbers of both sides (without values of rows)."""

    name: str
    status: str
    problems: list[str]
    advice: list[str]
    ordered: bool
    tolerance: float
    ignored: list[str]
    source: ComparedSide
    target: ComparedSide
    newest_within_hours: float | None


class Comparison(TypedDict):
    """Whether both sides agree, the comparison of each query, and as text the problems and a line for each query."""

    passed: bool
    queries: list[ComparedQuery]
    problems: list[str]
    lines: list[str]


def compare(source: list[Answer], target: list[Answer], slow_ratio: float, slow_milliseconds: float) -> Comparison:
    """Each query with its status: ``same``, ``slow`` (a warning), ``stale``, ``differs`` or ``failed``.

    Raises MigrationError ``other_queries`` when the two sides ran different queries.
    """
    names = [entry["name"] for entry in source]
    if names != [entry["name"] for entry in target]:
        raise MigrationError(
            "Source and target ran different queries: set couch2pg_dashboard_queries for both hosts.", "other_queries"
        )
    queries = [_compare_one(ours, theirs, slow_ratio, slow_milliseconds) for ours, theirs in zip(source, target)]
    return {
        "passed": all(query["status"] in ("same", "slow") for query in queries),
        "queries": queries,
        "problems": [f"{query['name']}: {' '.join(query['problems'])}" for query in queries if query["problems"]],
        "lines": _lines(queries),
    }


def _compare_one(ours: Answer, theirs: Answer, ratio: float, least: float) -> ComparedQuery:
    entry: ComparedQuery = {
        "name": ours["name"],
        "status": "same",
        "problems": [],
        "advice": [],
        "ordered": ours["ordered"],
        "tolerance": ours["tolerance"],
        "ignored": ours["ignored"],
        "source": _shown(ours),
        "target": _shown(theirs),
        "newest_within_hours": theirs["newest_within_hours"],
    }
    failures = [
        f"On the {side} it fails: {answer['error']['message']}"
        for side, answer in (("source", ours), ("target", theirs))
        if answer["error"]
    ]
    if failures:
        return {**entry, "status": "failed", "problems": failures}
    different, notes = _differences(ours, theirs)
    stale = _stale(theirs)
    slow = theirs["milliseconds"] > ratio * ours["milliseconds"]
    slow = slow and theirs["milliseconds"] - ours["milliseconds"] >= least
    status = "differs" if different else "stale" if stale else "slow" if slow else "same"
    return {
        **entry,
        "status": status,
        "problems": different + stale,
        "advice": notes + (query_plan.advice(ours, theirs) if slow else []),
    }


def _shown(answer: Answer) -> ComparedSide:
    """The part of an answer that the record may contain: numbers, no values of rows."""
    if answer["error"]:
        return {"error": answer["error"]["code"]}
    return {
        "rows": answer["digests"]["rows"],
        "milliseconds": answer["milliseconds"],
        "newest_age_hours": answer["newest_age_hours"],
    }


def _differences(ours: Answer, theirs: Answer) -> tuple[list[str], list[str]]:
    """The differences between the results, and notes about their columns."""
    names = [[column["name"] for column in answer["columns"]] for answer in (ours, theirs)]
    if names[0] != names[1]:
        return [f"The source has the columns {', '.join(names[0])}; the target has {', '.join(names[1])}."], []
    notes = [
        f"The column {a['name']} is {a['type']} on the source, {b['type']} on the target."
        for a, b in zip(ours["columns"], theirs["columns"])
        if a["type"] != b["type"]
    ]
    sentence = _rows_differ(ours["digests"], theirs["digests"], ours["ordered"], ours["tolerance"])
    return [sentence] if sentence else [], notes


def _rows_differ(source: ResultDigests, target: ResultDigests, ordered: bool, tolerance: float) -> str:
    """How two results with the same columns differ; empty when they are equal."""
    if source["rows"] != target["rows"]:
        return f"The source has {counted(source['rows'], 'row')}, the target {target['rows']}."
    if source["list"] == target["list"] if ordered else source["set"] == target["set"]:
        return ""
    if source["near"] is not None and target["near"] is not None:
        count = differing_rows(source["near"], target["near"], ordered)
        differing = f"Of {counted(source['rows'], 'row')}, {count} {'differs' if count == 1 else 'differ'}"
        return f"{differing} by more than the tolerance {tolerance:g}." if count else ""
    if source["set"] == target["set"]:
        other_order = (
            "Both have the same rows in different orders: name more columns in ORDER BY, or check that both databases "
        )
        return other_order + "sort text by the same collation."
    columns = [name for name, digest in source["columns"].items() if digest != target["columns"][name]]
    where = f"in the columns {', '.join(columns)}" if columns else "in the combinations of values"
    return f"Both have {counted(source['rows'], 'row')}, with differences {where}."


def _stale(theirs: Answer) -> list[str]:
    limit, age = theirs["newest_within_hours"], theirs["newest_age_hours"]
    if limit is None:
        return []
    if age is None:
        return ["The target has no row with a time, so nothing shows that it is up to date."]
    if age <= limit:
        return []
    remedy = "check that couch2pg runs there, and that it refreshes the materialized views."
    allowed = f"{limit:g} {plural(limit, 'hour')}"
    return [
        f"The newest row on the target is {age:g} {plural(age, 'hour')} old, more than the allowed {allowed}: {remedy}"
    ]


def _lines(queries: list[ComparedQuery]) -> list[str]:
    """A line for each query, its status first; then its problems and the advice, indented."""
    shown = []
    for query in queries:
        status = query["status"] if query["status"] == "same" else query["status"].upper()
        source, target = query["source"], query["target"]
        measured = ""
        if "rows" in source and "rows" in target:
            measured = (
                f"{counted(target['rows'], 'row')}; {source['milliseconds']:g} ms on the source, "
                f"{target['milliseconds']:g} ms on the target"
            )
        shown.append(f"{status:<8} {query['name']}: {measured or 'no result'}")
        shown += [f"         {sentence}" for sentence in [*query["problems"], *query["advice"]]]
    return shown
