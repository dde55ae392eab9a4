# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of one program, changed all or none: what was changed before a failure is put back."""

from __future__ import annotations

import base64
import json
from typing import Any, Callable, Dict, Protocol, Sequence

from ..common.errors import MigrationError

# One connection before and after: ``tool``, ``url``, ``id``, ``name``, ``old``, ``new``. It holds no password.
Change = Dict[str, Any]


class Tool(Protocol):
    """A program whose connections are led to the target, and back."""

    def plan(self) -> tuple[list[Change], list[str]]:
        """What is to be changed, and the names of what leads to the target already."""

    def test(self, change: Change) -> None:
        """Raise MigrationError when it would not work, before anything is changed."""

    def forward(self, change: Change) -> None:
        """Lead it to the target, and see that it works."""

    def needs_back(self, change: Change) -> bool:
        """Whether it leads to where the cutover led it."""

    def back(self, change: Change) -> bool:
        """Lead it to where it led before; returns whether that was needed."""


def cut_over(tool: Tool, write: bool, unproven: Sequence[Change] = ()) -> dict[str, Any]:
    """Lead every connection to the target. Without ``write``, everything is looked at and tested.

    unproven: what an interrupted run has begun to change; what of it leads to the target is led there again, because nobody
    has seen that it works. Raises MigrationError.
    """
    changes, ready = tool.plan()
    known = {change["id"] for change in changes}
    changes += [change for change in unproven if change["id"] not in known and tool.needs_back(change)]
    for change in changes:
        tool.test(change)
    if write:
        apply_all(changes, tool.forward, tool.back)
    return {
        "changed": bool(changes),
        "moved": [change["name"] for change in changes],
        "ready": [name for name in ready if name not in {change["name"] for change in changes}],
        "packed": pack(changes),
        "diff": diff(changes),
    }


def switch_back(tool: Tool, changes: Sequence[Change], write: bool) -> dict[str, Any]:
    """Lead every remembered connection to where it led before, whatever becomes of the others.

    Raises MigrationError ``not_put_back`` in the end for those that could not be.
    """
    moved: list[Change] = []

    def back(change: Change) -> None:
        if tool.back(change) if write else tool.needs_back(change):
            moved.append(change)

    left = put_back(changes, back)
    if left:
        raise MigrationError(" ".join(left), "not_put_back")
    return {
        "changed": bool(moved),
        "moved": [change["name"] for change in moved],
        "ready": [],
        "packed": pack(moved),
        "diff": diff(moved, reverse=True),
    }


def apply_all(changes: Sequence[Change], forward: Callable[[Change], object], back: Callable[[Change], object]) -> None:
    """Do ``forward`` with each. After a failure do ``back`` with those that were begun, the last first.

    Raises MigrationError of the failure, which says what became of the others.
    """
    begun: list[Change] = []
    try:
        for change in changes:
            begun.append(change)
            forward(change)
    except MigrationError as error:
        left = put_back(begun[::-1], back)
        outcome = f" These could not be put back: {' '.join(left)}" if left else ""
        raise MigrationError(error.message + outcome, error.code, **error.details) from error


def put_back(changes: Sequence[Change], back: Callable[[Change], object]) -> list[str]:
    """Do ``back`` with each, whatever becomes of the others; returns a sentence for each that failed."""
    sentences = []
    for change in changes:
        try:
            back(change)
        except MigrationError as error:
            sentences.append(f"{change['name']}: {error.message}")
    return sentences


def pack(changes: Sequence[Change]) -> str:
    """For a result that Ansible may mask: a password that is also the name of a role would damage what is remembered."""
    return base64.b64encode(json.dumps(list(changes)).encode()).decode()


def unpack(packed: str) -> list[Change]:
    """What was packed. Raises MigrationError ``changes``."""
    try:
        found = json.loads(base64.b64decode(packed, validate=True)) if packed else []
        well = isinstance(found, list) and all({"tool", "name", "old", "new"} <= set(change) for change in found)
    except (ValueError, TypeError):
        well = False
    if not well:
        raise MigrationError("These are no changes of a cutover: hand them on as the module returned them.", "changes")
    return list(found)


def of_tool(tool: str, packed: Sequence[str]) -> list[Change]:
    """Of everything that was packed, what belongs to one program."""
    return [change for one in packed for change in unpack(one) if change["tool"] == tool]


def diff(changes: Sequence[Change], reverse: bool = False) -> dict[str, str]:
    """Before and after, for diff mode."""
    before, after = ("new", "old") if reverse else ("old", "new")
    return {
        "before": "".join(f"{_line(change, before)}\n" for change in changes),
        "after": "".join(f"{_line(change, after)}\n" for change in changes),
    }


def shown(change: Change) -> dict[str, str]:
    """A change as people and the record read it."""
    return {
        "tool": str(change["tool"]),
        "name": str(change["name"]),
        "old": _side(change["old"]),
        "new": _side(change["new"]),
    }


def _side(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in sorted(value.items()))
    return str(value)


def _line(change: Change, side: str) -> str:
    described = shown(change)
    return f"{described['tool']} {described['name']}: {described[side]}"
