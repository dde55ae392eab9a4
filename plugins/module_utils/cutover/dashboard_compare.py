# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both sides answered to the dashboards' queries, held against each other."""

from __future__ import annotations

from typing import Any

from ..common.errors import MigrationError
from ..postgres import query_plan
from .result_digest import differing_rows


def compare(
    source: list[dict[str, Any]], target: list[dict[str, Any]], slow_ratio: float, slow_milliseconds: float
) -> dict[str, Any]:
    """Every query with how it ended: ``same``, ``slow`` (a warning), ``stale``, ``differs`` or ``failed``.

    Raises MigrationError ``other_queries`` when the two sides were asked different things.
    """
    names = [entry["name"] for entry in source]
    if names != [entry["name"] for entry in target]:
        raise MigrationError(
            "Source and target were asked different queries: set couch2pg_dashboard_queries for both.", "other_queries"
        )
    queries = [_compare_one(ours, theirs, slow_ratio, slow_milliseconds) for ours, theirs in zip(source, target)]
    return {"passed": all(query["status"] in ("same", "slow") for query in queries), "queries": queries}


def _compare_one(ours: dict[str, Any], theirs: dict[str, Any], ratio: float, least: float) -> dict[str, Any]:
    entry = {
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
        return dict(entry, status="failed", problems=failures)
    different, notes = _differences(ours, theirs)
    stale = _stale(theirs)
    slow = theirs["milliseconds"] > ratio * ours["milliseconds"]
    slow = slow and theirs["milliseconds"] - ours["milliseconds"] >= least
    status = "differs" if different else "stale" if stale else "slow" if slow else "same"
    return dict(
        entry,
        status=status,
        problems=different + stale,
        advice=notes + (query_plan.advice(ours, theirs) if slow else []),
    )


def _shown(answer: dict[str, Any]) -> dict[str, Any]:
    """What of an answer may be kept: numbers only."""
    if answer["error"]:
        return {"error": answer["error"]["code"]}
    return {
        "rows": answer["digests"]["rows"],
        "milliseconds": answer["milliseconds"],
        "newest_age_hours": answer["newest_age_hours"],
    }


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What differs between the results, and what is only worth knowing."""
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


def _rows_differ(source: dict[str, Any], target: dict[str, Any], ordered: bool, tolerance: float) -> str:
    """How two results with the same columns differ; nothing when they don't."""
    if source["rows"] != target["rows"]:
        return f"The source has {source['rows']} rows, the target {target['rows']}."
    whole = "list" if ordered else "set"
    if source[whole] == target[whole]:
        return ""
    if source["near"] is not None and target["near"] is not None:
        count = differing_rows(source["near"], target["near"], ordered)
        return f"{count} of {source['rows']} rows differ by more than the tolerance {tolerance:g}." if count else ""
    if source["set"] == target["set"]:
        other_order = "The same rows come in another order: name more columns in ORDER BY, or see that both databases "
        return other_order + "sort text alike (collation)."
    columns = [name for name, digest in source["columns"].items() if digest != target["columns"][name]]
    where = f"in the columns {', '.join(columns)}" if columns else "in which values stand in one row together"
    return f"Both have {source['rows']} rows, which differ {where}."


def _stale(theirs: dict[str, Any]) -> list[str]:
    limit, age = theirs["newest_within_hours"], theirs["newest_age_hours"]
    if limit is None:
        return []
    if age is None:
        return ["The target has no row with a time, so nothing shows that it is up to date."]
    if age <= limit:
        return []
    remedy = "see that couch2pg runs there and that materialized views are refreshed."
    return [f"The newest row on the target is {age:g} hours old, and {limit:g} are allowed: {remedy}"]


def lines(queries: list[dict[str, Any]]) -> list[str]:
    """Each query in a line for a person, the status first; what is wrong, and what to do, below it."""
    shown = []
    for query in queries:
        status = query["status"] if query["status"] == "same" else query["status"].upper()
        source, target = query["source"], query["target"]
        measured = ""
        if "rows" in source and "rows" in target:
            measured = (
                f"{target['rows']} rows; {source['milliseconds']:g} ms on the source, "
                f"{target['milliseconds']:g} ms on the target"
            )
        shown.append(f"{status:<8} {query['name']}: {measured or 'no result'}")
        shown += [f"         {sentence}" for sentence in [*query["problems"], *query["advice"]]]
    return shown
