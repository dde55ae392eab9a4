# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log that can be read from a position, and the check of positions that a playbook passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Dict, Iterator, Mapping

from ...common.errors import MigrationError

# A playbook takes a position before the start of couch2pg, keeps it as JSON, and reads from it later.
Position = Dict[str, Any]


class LogSource(ABC):
    """A log. After reading its lines, ``after`` is the position after them, and ``notices`` tells which lines may be missing."""

    kind = ""

    def __init__(self) -> None:
        self.after: Position = {}
        self.notices: list[str] = []

    @abstractmethod
    def position(self) -> Position:
        """The position after the last line that exists now."""

    @abstractmethod
    def lines(self, since: Position | None) -> Iterator[bytes]:
        """The lines since that position (all lines without one), without line ends, in constant memory."""


def check(since: Mapping[str, Any], template: Position) -> Position:
    """``since`` with the keys and types of ``template``, which is a position of the log to read.

    Raises MigrationError ``position`` when ``since`` is a position of another log, or no position.
    """
    checked: Position = {}
    for name, example in template.items():
        try:
            # Templating turns numbers into text.
            checked[name] = type(example)(since[name])
        except (KeyError, TypeError, ValueError) as error:
            raise _no_position(f"{name!r} is missing or no {type(example).__name__}") from error
    for name in ("kind", "path", "unit", "journal_dir"):
        if checked.get(name) != template.get(name):
            raise _no_position(f"its {name} is {checked[name]!r}, the log's is {template[name]!r}")
    return checked


def _no_position(why: str) -> MigrationError:
    return MigrationError(
        f"since is no position of this log: {why}. Use the position that an earlier call for the same log returned.",
        "position",
    )
