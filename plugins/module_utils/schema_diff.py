# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the schemas of two databases, across major versions of PostgreSQL."""

from __future__ import annotations

import json
from typing import Any, Iterator

from .connection import Session
from .errors import MigrationError

MAINTAIN_SINCE = 17


def compare(
    source: dict[str, dict[str, Any]],
    target: dict[str, dict[str, Any]],
    majors: tuple[int, int],
    session: Session,
) -> list[dict[str, Any]]:
    """Every difference as ``{kind, object, problem, source, target}``.

    ``majors`` are those of source and target; ``session`` is on the target's database, to read views again.
    """
    differences = []
    for kind in sorted(set(source) | set(target)):
        ours, theirs = source.get(kind, {}), target.get(kind, {})
        for identity in sorted(set(ours) | set(theirs)):
            if identity not in theirs:
                differences.append(_difference(kind, identity, "is missing on the target", None, None))
            elif identity not in ours:
                differences.append(_difference(kind, identity, "is on the target only", None, None))
            else:
                differences += _properties(kind, identity, ours[identity], theirs[identity], majors, session)
    return differences


def _properties(
    kind: str, identity: str, source: Any, target: Any, majors: tuple[int, int], session: Session
) -> Iterator[dict[str, Any]]:
    source, target = _comparable(source, majors), _comparable(target, majors)
    if not isinstance(source, dict) or not isinstance(target, dict):
        if source != target:
            yield _difference(kind, identity, "differs", source, target)
        return
    for name in sorted(set(source) | set(target)):
        ours, theirs = source.get(name), target.get(name)
        if ours == theirs:
            continue
        if kind == "views" and name == "definition" and _same_view(session, ours, theirs):
            continue
        yield _difference(kind, identity, f"has another {name.replace('_', ' ')}", ours, theirs)


def _difference(kind: str, identity: str, problem: str, source: Any, target: Any) -> dict[str, Any]:
    return {"kind": kind, "object": identity, "problem": problem, "source": source, "target": target}


def _comparable(properties: Any, majors: tuple[int, int]) -> Any:
    """Without the privilege that an older server doesn't have."""
    if min(majors) >= MAINTAIN_SINCE or not isinstance(properties, dict) or "grants" not in properties:
        return properties
    kept = [text for text in properties["grants"] or [] if "MAINTAIN" not in text.split()]
    return dict(properties, grants=kept)


def _same_view(session: Session, source: Any, target: Any) -> bool:
    """Whether the target's server reads both texts as the same query.

    Servers print a view in their own words (from 16 on, with fewer qualified columns), so the source's text is made a
    temporary view on the target and printed again. The transaction is rolled back.
    """
    session.execute("BEGIN")
    try:
        session.execute(f"CREATE TEMPORARY VIEW couch2pg_compared AS {source}")
        printed = session.value("SELECT pg_catalog.pg_get_viewdef('pg_temp.couch2pg_compared'::pg_catalog.regclass)")
    except MigrationError as error:
        if error.code != "sql":
            raise
        return False
    finally:
        session.execute("ROLLBACK")
    return bool(printed == target)


def sentence(difference: dict[str, Any]) -> str:
    """One difference for a person."""
    text = f"{difference['kind']}: {difference['object']} {difference['problem']}"
    if difference["source"] is not None or difference["target"] is not None:
        text += f" (source {_short(difference['source'])}, target {_short(difference['target'])})"
    return text


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
