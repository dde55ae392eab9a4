# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text that sets variables, in any notation: the part that sets each variable, and how to change it.

Everything else in the text stays: comments, order, and the notation of other values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Collection, Mapping, Sequence


@dataclass(frozen=True)
class Assignment:
    """``text[start:end]`` sets ``name``; ``prefix`` precedes the name, such as ``export``."""

    name: str
    value: str = field(repr=False)
    start: int
    end: int
    prefix: str = ""


Parser = Callable[[str], Sequence[Assignment]]
Writer = Callable[[str, str], str]


def values(assignments: Sequence[Assignment]) -> dict[str, str]:
    """The value of each variable; the last assignment of a name counts."""
    return {assignment.name: assignment.value for assignment in assignments}


def quoted(name: str, value: str) -> str:
    """``name="value"`` as a shell and systemd's ``EnvironmentFile=`` both read it."""
    for special in '\\"$`':
        value = value.replace(special, f"\\{special}")
    return f'{name}="{value}"'


def changed(
    text: str,
    parse: Parser,
    wanted: Mapping[str, str],
    unwanted: Collection[str] = (),
    write: Writer = quoted,
) -> str:
    """The text changed so that it sets ``wanted`` and nothing in ``unwanted``. A correct value keeps its notation."""
    while True:
        after = _once(text, parse, wanted, unwanted, write)
        # A value may refer to another variable that was changed: repeat until nothing changes.
        if after == text:
            return text
        text = after


def _once(text: str, parse: Parser, wanted: Mapping[str, str], unwanted: Collection[str], write: Writer) -> str:
    assignments = parse(text)
    last = {assignment.name: assignment for assignment in assignments}
    pieces: list[str] = []
    place = 0
    for found in assignments:
        after = found.end
        if found.name in unwanted:
            before = text[text.rfind("\n", 0, found.start) + 1 : found.start]
            behind = text[after:].partition("\n")[0].strip()
            alone = not before.strip() and (not behind or behind.startswith("#"))
            # On a line with other assignments, an empty value replaces the removal. couch2pg treats both alike.
            new = "" if alone else f"{found.prefix}{found.name}="
            after = min(after + len(text[after:].partition("\n")[0]) + 1, len(text)) if alone else after
        elif found.end == last[found.name].end and found.name in wanted and wanted[found.name] != found.value:
            new = found.prefix + write(found.name, wanted[found.name])
        else:
            continue
        pieces += [text[place : found.start], new]
        place = after
    result = "".join(pieces) + text[place:]
    prefix = next((found.prefix for found in assignments if found.prefix), "")
    missing = [prefix + write(name, value) + "\n" for name, value in wanted.items() if name not in last]
    if missing and result and not result.endswith("\n"):
        result += "\n"
    return result + "".join(missing)
