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
    """A log. A class for each ``kind`` of log has these two methods.

    The watch of couch2pg calls ``lines`` of one object again and again, each time with ``after`` of the call before. ``after`` is the
    position after the lines that were read, once all of them have been read. ``notices`` says which lines may be missing, and
    keeps the notices of earlier calls.

    The watch waits while ``lines`` raises MigrationError ``log_missing``: there is no log yet. Any other error ends the watch.
    """

    kind = ""

    def __init__(self) -> None:
        self.after: Position = {}
        self.notices: list[str] = []

    @abstractmethod
    def position(self) -> Position:
        """The position after the last line that exists now; without any line, a position before everything that follows."""

    @abstractmethod
    def lines(self, since: Position | None) -> Iterator[bytes]:
        """The lines since that position (all lines without one) up to the present end, without line ends, in constant memory."""


def check(since: Mapping[str, Any], template: Position) -> Position:
    """``since`` with the keys and types of ``template``, which is a position of the log to read.

    Raises MigrationError ``position`` when ``since`` lacks a key of it, or names another kind, file, unit or journal. A position of
    kind docker or compose is a time and names no container, so that one of another container passes.
    """
    checked: Position = {}
    for name, example in template.items():
        if name not in since:
            raise _no_position(f"it has no {name}")
        try:
            # Templating turns numbers into text.
            checked[name] = type(example)(since[name])
        except (TypeError, ValueError) as error:
            raise _no_position(f"its {name} is {since[name]!r}, not a number") from error
    for name in ("kind", "path", "unit", "journal_dir"):
        if checked.get(name) != template.get(name):
            raise _no_position(f"its {name} is {checked[name]!r}, and that of the log is {template[name]!r}")
    return checked


def _no_position(why: str) -> MigrationError:
    return MigrationError(
        f"The value of since is not a position in this log: {why}. Use the position that an earlier call for the same log returned.",
        "position",
    )
