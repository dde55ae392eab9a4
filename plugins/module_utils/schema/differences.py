# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the expected schema with the schema that was found."""

from __future__ import annotations

import hashlib
import re
from typing import Mapping

from ..common.difference import Difference, SchemaDifference
from ..postgres.unprinted import Unprinted
from .printed import Entry, Printed

MISSING, EXTRA, DIFFERS = "is missing on the target", "is on the target only", "differs"
SHOWN_CHARACTERS = 120
# Options of foreign servers and of user mappings hold passwords.
_WITH_SECRETS = ("user mapping", "server", "foreign data wrapper", "foreign table")
_OPTION = re.compile(r"(?<!COMMENT IS )'(?:[^']|'')*'")
_GRANTED_BY = re.compile(r"SET SESSION AUTHORIZATION .*?\nRESET SESSION AUTHORIZATION;|[^\n]+", re.DOTALL)


def compare(expected: Printed, found: Printed) -> list[SchemaDifference]:
    """Every object whose texts are not the same, as ``difference`` returns it. ``source`` is the text that is expected."""
    differences = []
    for entry in sorted(set(expected) | set(found)):
        ours, theirs = expected.get(entry, []), found.get(entry, [])
        # Grants are a set: their order depends on the order in which they were given.
        if entry.kind in ("grants", "default privileges"):
            ours, theirs = [_in_order(text) for text in ours], [_in_order(text) for text in theirs]
        if ours != theirs:
            problem = MISSING if not theirs else EXTRA if not ours else DIFFERS
            differences.append(_of_texts(entry, problem, _without(ours, theirs), _without(theirs, ours)))
    return differences


def compare_unprinted(expected: Mapping[Unprinted, str], found: Mapping[Unprinted, str]) -> list[SchemaDifference]:
    """Every object that pg_dump doesn't print and whose texts are not the same, as ``difference`` returns it."""
    differences = []
    for entry in sorted(set(expected) | set(found)):
        ours, theirs = expected.get(entry), found.get(entry)
        if ours != theirs:
            problem = MISSING if theirs is None else EXTRA if ours is None else DIFFERS
            differences.append(difference(entry.kind, entry.identity, problem, ours, theirs))
    return differences


def difference(kind: str, name: str, problem: str, source: object, target: object) -> SchemaDifference:
    """One difference of the schema. Its name ends with a hash of both sides, so that an accepted difference that grows is a new one."""
    digest = hashlib.sha256(repr((source, target)).encode(errors="backslashreplace")).hexdigest()[:8]
    return {
        "kind": kind,
        "object": name,
        "problem": problem,
        "source": source,
        "target": target,
        "name": f"{kind} {name} {problem} ({digest})",
    }


def sentence(found: Difference) -> str:
    """One difference as a sentence for messages: its object, and the first lines that are not the same."""
    text = f"{found['kind']}{'' if 'name' in found else ':'} {found['object']} {found['problem']}"
    source, target = found["source"], found["target"]
    if isinstance(source, str) and isinstance(target, str):
        source, target = first_lines(source, target)
    if source is None and target is None:
        return text
    return f"{text} (source: {_short(source)}; target: {_short(target)})"


def _of_texts(entry: Entry, problem: str, ours: list[str], theirs: list[str]) -> SchemaDifference:
    source, target = "\n".join(ours), "\n".join(theirs)
    if entry.kind in _WITH_SECRETS:
        masked = _OPTION.sub("'***'", source), _OPTION.sub("'***'", target)
        if problem == DIFFERS and masked[0] == masked[1]:
            problem = "differs in the value of an option"
        source, target = masked
    return difference(entry.kind, entry.object, problem, source, target)


def _without(texts: list[str], others: list[str]) -> list[str]:
    return [text for text in texts if text not in others] or texts


def _in_order(text: str) -> str:
    return "\n".join(sorted(_GRANTED_BY.findall(text)))


def first_lines(source: str, target: str) -> tuple[str | None, str | None]:
    """For each of both texts: the first line that the other text lacks; None when there is none."""
    ours, theirs = source.split("\n"), target.split("\n")
    return _first(ours, theirs), _first(theirs, ours)


def _first(lines: list[str], others: list[str]) -> str | None:
    """The first line that is not in ``others``. A statement is preferred to pg_dump's comment before it, such as the tablespace."""
    own = [line.strip() for line in lines if line and line not in others]
    return next((line for line in own if not line.startswith("--")), own[0].lstrip("- ") if own else None)


def _short(value: object) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
