# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the schemas of two databases, across major versions of PostgreSQL."""

from __future__ import annotations

import json
from typing import Any, Iterator

from ..common.errors import MigrationError
from ..postgres.connection import Session

MAINTAIN_SINCE = 17
# From here on, a database begins without the right of everybody to create in its schema public.
NARROW_PUBLIC_SINCE = 15


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
    if (kind, identity) == ("schemas", "public") and majors[0] < NARROW_PUBLIC_SINCE <= majors[1]:
        source = _without_default(source, target)
    if not isinstance(source, dict) or not isinstance(target, dict):
        if source != target:
            yield _difference(kind, identity, "differs", source, target)
        return
    for name in sorted(set(source) | set(target)):
        ours, theirs = source.get(name), target.get(name)
        if ours == theirs:
            continue
        if (
            (kind, name) in _READ_AGAIN
            and ours
            and theirs
            and _same_text(session, (kind, name), identity, ours, theirs)
        ):
            continue
        yield _difference(kind, identity, f"has another {name.replace('_', ' ')}", ours, theirs)


def _difference(kind: str, identity: str, problem: str, source: Any, target: Any) -> dict[str, Any]:
    return {"kind": kind, "object": identity, "problem": problem, "source": source, "target": target}


def _without_default(source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """Without the right that came with every old database, where the new one hasn't got it.

    pg_dump before 15 says nothing of it, as it would of a GRANT.
    """
    default = {"PUBLIC CREATE"} - set(target["grants"])
    return dict(source, grants=[grant for grant in source["grants"] if grant not in default])


def _comparable(properties: Any, majors: tuple[int, int]) -> Any:
    """Without the privilege that an older server doesn't have."""
    if min(majors) >= MAINTAIN_SINCE or not isinstance(properties, dict) or "grants" not in properties:
        return properties
    kept = [text for text in properties["grants"] or [] if "MAINTAIN" not in text.split()]
    return dict(properties, grants=kept)


# How a text of the source is read by the target, and printed again; {table} is the policy's.
_POLICY = "CREATE POLICY couch2pg_compared ON {table} %s ({text})"
_POLICY_TABLE = """
SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname || ': ' || p.polname = %s
"""
_PRINTED_POLICY = """
SELECT pg_catalog.pg_get_expr(coalesce(polqual, polwithcheck), polrelid) FROM pg_catalog.pg_policy
WHERE polname = 'couch2pg_compared'
"""
_PRINTED_RULE = """
SELECT pg_catalog.pg_get_ruledef(r.oid) FROM pg_catalog.pg_rewrite AS r JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname || ': ' || r.rulename = %s
"""
_PRINTED_FUNCTION = """
SELECT pg_catalog.pg_get_functiondef(p.oid) FROM pg_catalog.pg_proc AS p
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname || '.' || p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' = %s
"""
_READ_AGAIN = {
    ("views", "definition"): (
        "CREATE TEMPORARY VIEW couch2pg_compared AS {text}",
        "SELECT pg_catalog.pg_get_viewdef('pg_temp.couch2pg_compared'::pg_catalog.regclass)",
    ),
    ("policies", "using"): (_POLICY % "FOR SELECT USING", _PRINTED_POLICY),
    ("policies", "check"): (_POLICY % "FOR INSERT WITH CHECK", _PRINTED_POLICY),
    ("rules", "definition"): ("{text}", _PRINTED_RULE),
    ("functions", "body"): ("{text}", _PRINTED_FUNCTION),
}


def _same_text(session: Session, what: tuple[str, str], identity: str, source: str, target: str) -> bool:
    """Whether the target's server reads both texts as the same.

    Servers print a query in their own words (from 16 on, with fewer qualified columns), so the source's text is made
    something on the target and printed again. The transaction is rolled back.
    """
    make, printed = _READ_AGAIN[what]
    text = source.replace("CREATE RULE ", "CREATE OR REPLACE RULE ", 1) if what[0] == "rules" else source
    session.execute("BEGIN")
    try:
        table = session.value(_POLICY_TABLE, [identity]) if what[0] == "policies" else ""
        session.execute(make.replace("{table}", table).replace("{text}", text))
        return bool(session.value(printed, [identity] if "%s" in printed else None) == target)
    except MigrationError as error:
        if error.code != "sql":
            raise
        return False
    finally:
        session.execute("ROLLBACK")


def sentence(difference: dict[str, Any]) -> str:
    """One difference for a person."""
    text = f"{difference['kind']}: {difference['object']} {difference['problem']}"
    if difference["source"] is not None or difference["target"] is not None:
        text += f" (source {_short(difference['source'])}, target {_short(difference['target'])})"
    return text


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
