# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change all connections of one program, or none: after a failure, those that were changed are put back."""

from __future__ import annotations

import base64
import json
from typing import Any, Callable, Protocol, Sequence, TypedDict

from ..common.errors import MigrationError


class Change(TypedDict, total=False):
    """A connection before and after. It contains no password.

    url: of the program, if it has one. old, new: an address, or properties by name.
    """

    tool: str
    url: str
    id: Any
    name: str
    old: Any
    new: Any


class Result(TypedDict):
    """What a module of a program returns: names of changed connections, and of those that lead to the target already."""

    changed: bool
    moved: list[str]
    ready: list[str]
    packed: str
    diff: dict[str, str]


class Tool(Protocol):
    """A program with connections to change."""

    def plan(self) -> tuple[list[Change], list[str]]:
        """The changes to make, and the names of connections that lead to the target already."""

    def test(self, change: Change) -> None:
        """Test a change before anything is changed. Raises MigrationError when it would not work."""

    def forward(self, change: Change) -> None:
        """Point the connection at the target, and test it."""

    def needs_back(self, change: Change) -> bool:
        """Whether the connection still has the address that the cutover gave it."""

    def back(self, change: Change) -> bool:
        """Give the connection its old address; returns whether that was needed."""


def cut_over(tool: Tool, write: bool, unproven: Sequence[Change] = ()) -> Result:
    """Point every connection at the target. Without ``write``, only read and test.

    unproven: changes of an interrupted run. Those that lead to the target are made again, because that run may not have tested them.
    Raises MigrationError.
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


def switch_back(tool: Tool, changes: Sequence[Change], write: bool) -> Result:
    """Give every changed connection its old address, also when others fail.

    Raises MigrationError ``not_put_back`` at the end for the connections that failed.
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
    """Call ``forward`` for each change. After a failure, call ``back`` for the started changes in reverse order.

    Raises the MigrationError of the failure, with the changes that could not be put back.
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
    """Call ``back`` for each change, also when others fail. Returns a sentence for each failure."""
    sentences = []
    for change in changes:
        try:
            back(change)
        except MigrationError as error:
            sentences.append(f"{change['name']}: {error.message}")
    return sentences


def pack(changes: Sequence[Change]) -> str:
    """Encode changes for a result. Without that, Ansible would mask a role's name that equals a password."""
    return base64.b64encode(json.dumps(list(changes)).encode()).decode()


def unpack(packed: str) -> list[Change]:
    """The changes that ``pack`` encoded. Raises MigrationError ``changes``."""
    try:
        found = json.loads(base64.b64decode(packed, validate=True)) if packed else []
        well = isinstance(found, list) and all({"tool", "name", "old", "new"} <= set(change) for change in found)
    except (ValueError, TypeError):
        well = False
    if not well:
        raise MigrationError(
            "These are not the changes of a cutover. Pass the value that the module returned.", "changes"
        )
    return list(found)


def of_tool(tool: str, packed: Sequence[str]) -> list[Change]:
    """The changes of one program among all packed changes."""
    return [change for one in packed for change in unpack(one) if change["tool"] == tool]


def diff(changes: Sequence[Change], reverse: bool = False) -> dict[str, str]:
    """The changes before and after, for diff mode."""
    before, after = ("new", "old") if reverse else ("old", "new")
    return {
        "before": "".join(f"{_line(change, before)}\n" for change in changes),
        "after": "".join(f"{_line(change, after)}\n" for change in changes),
    }


def shown(change: Change) -> dict[str, str]:
    """A change as text, for results and the record."""
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
