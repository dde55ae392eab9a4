# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the target's tables, sequences, large objects and materialized views contain, compared with the evidence."""

from __future__ import annotations

from typing import Mapping, Sequence

from ..common.counted import counted
from ..common.difference import Difference
from ..common.evidence_document import Evidence
from ..common.evidence_rows import DigestDocument, LargeObjects, MatviewDocument, SequenceBounds, SequenceValue
from ..evidence import digest
from ..evidence.extension_rows import Lacking
from ..postgres.identifiers import shown_as_sql
from ..schema.differences import EXTRA, MISSING


def compare_tables(source: Sequence[DigestDocument], target: Sequence[DigestDocument]) -> list[Difference]:
    """Tables whose rows or digest differ, or that only one side has.

    Partitions between which rows may move (``relations.Table.tree``) are compared as one table.
    """
    trees = {row["table"]: row["tree"] for row in source if row.get("tree")}
    ours, theirs = _by_table(source, trees), _by_table(target, trees)
    differences = []
    for name in sorted(set(ours) | set(theirs)):
        expected, found = ours.get(name), theirs.get(name)
        if expected is None or found is None:
            problem = MISSING if found is None else EXTRA
            differences.append(_difference(name, problem, expected and expected["rows"], found and found["rows"]))
        elif expected["rows"] != found["rows"]:
            differences.append(_difference(name, "has a different number of rows", expected["rows"], found["rows"]))
        elif expected["digest"] != found["digest"]:
            differences.append(_difference(name, "has different content", expected["digest"], found["digest"]))
    return differences


def _by_table(rows: Sequence[DigestDocument], trees: dict[str, str]) -> dict[str, DigestDocument]:
    found = {row["table"]: row for row in rows if row["table"] not in trees}
    for tree in set(trees.values()):
        parts = [row for row in rows if trees.get(row["table"]) == tree]
        if parts:
            found[tree] = {
                "table": tree,
                "rows": sum(row["rows"] for row in parts),
                "digest": digest.together([row["digest"] for row in parts]),
            }
    return found


def rows_of_extensions(lacking: Sequence[Lacking]) -> list[Difference]:
    """Tables of extensions that lack rows of the source."""
    return [_difference(row["table"], "lacks rows of the source", row["expected"], row["found"]) for row in lacking]


def compare_large_objects(source: LargeObjects, target: LargeObjects) -> list[Difference]:
    """The difference in number or content, if there is one."""
    if source == target:
        return []
    if source["count"] != target["count"]:
        return [_difference("the number", "differs", source["count"], target["count"], "large objects")]
    return [_difference("the content", "differs", source["digest"], target["digest"], "large objects")]


def compare_sequences(source: Mapping[str, SequenceBounds], target: Mapping[str, SequenceValue]) -> list[Difference]:
    """Sequences whose value is not between the source's values before and after the dump."""
    differences = []
    for name, bounds in sorted(source.items()):
        found = target.get(name)
        if found is None:
            continue
        forward = found["increment"] > 0
        low, high = bounds["before"], bounds.get("after", bounds["before"])
        first, position, last = (_position(value, forward) for value in (low, found, high))
        # A sequence that cycles may have started over between the two values.
        within = first <= position <= last if first <= last else position >= first or position <= last
        if not within:
            values = [value["last_value"] for value in (low, high)]
            text = f"{values[0]} to {values[1]}"
            differences.append(
                _difference(name, "is outside of the source's range", text, found["last_value"], "sequence value")
            )
    return differences


def _position(value: SequenceValue, forward: bool) -> tuple[int, bool]:
    return (value["last_value"] if forward else -value["last_value"], value["is_called"])


def compare_populated(source: list[MatviewDocument], target: list[MatviewDocument]) -> list[Difference]:
    """Matviews that hold data on the source and none on the target."""
    populated = {row["matview"]: row["populated"] for row in target}
    return [
        _difference(row["matview"], "is not populated", "populated", "not populated", "matview")
        for row in source
        if row["populated"] and not populated.get(row["matview"], True)
    ]


def notices(source: list[MatviewDocument], target: list[MatviewDocument]) -> list[str]:
    """Sentences about materialized views without rows on the target: dashboards would be empty."""
    rows = {row["matview"]: row["rows"] for row in target}
    empty = [row["matview"] for row in target if not row["populated"]]
    return [
        f"The materialized view {row['matview']} has {counted(row['rows'], 'row')} on the source and none on the target. Check its query "
        "there."
        for row in source
        if row["rows"] and rows.get(row["matview"]) == 0
    ] + [
        f"The materialized view {row['matview']} has no data, as on the source: its refresh fails. couch2pg's refresh_matviews() "
        "fails on such a view in schema public. After the promotion, correct what it reads and refresh it (REFRESH MATERIALIZED VIEW "
        f"{shown_as_sql(row['matview'])};), or drop it (DROP MATERIALIZED VIEW {shown_as_sql(row['matview'])};)."
        for row in source
        if not row["populated"] and row["matview"] in empty
    ]


def information(evidence: Evidence, refreshed: list[MatviewDocument], extensions: dict[str, str]) -> list[Difference]:
    """Differences that are no fault: the source's matviews are as old as its last refresh."""
    rows = {row["matview"]: row["rows"] for row in refreshed}
    found = [
        _difference(row["matview"], "has a different number of rows", row["rows"], rows.get(row["matview"]), "matview")
        for row in evidence["matviews"]
        if row["rows"] is not None and row["rows"] != rows.get(row["matview"])
    ]
    found += [
        _difference(name, "has a different version", version, extensions[name], "extension")
        for name, version in evidence["extensions"].items()
        if name in extensions and extensions[name] != version
    ]
    return found


def _difference(name: str, problem: str, source: object, target: object, kind: str = "rows") -> Difference:
    return {"kind": kind, "object": name, "problem": problem, "source": source, "target": target}
