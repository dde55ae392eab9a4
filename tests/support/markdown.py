# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links and anchors of Markdown, as GitHub reads it: what is in code is no link, and every heading has an anchor."""

from __future__ import annotations

import re
from typing import Callable, Iterator

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
# Either inline code, which is skipped, or the target of a link, of an image or of a reference.
_LINK = re.compile(r"(`+)(?:(?!\1).)+\1|(?P<before>\]\(|^\[[^\]]+\]: )(?P<target>[^()\s]+)(?=\)|\s+\"|$)")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*$")
_MARKUP = re.compile(r"\[([^\]]*)\]\([^)]*\)|[`*]")


def _lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """Number, text, and whether it is code, of every line."""
    fence = ""
    for number, line in enumerate(text.split("\n"), 1):
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
            yield number, line, True
        elif found and found[1].startswith(fence):
            yield number, line, True
            fence = ""
        else:
            yield number, line, bool(fence)


def links(text: str) -> list[tuple[int, str]]:
    """Line number and target of every link and image."""
    return [
        (number, found["target"])
        for number, line, code in _lines(text)
        if not code
        for found in _LINK.finditer(line)
        if found["target"]
    ]


def relinked(text: str, new: Callable[[str], str]) -> str:
    """The text with ``new(target)`` for every target of a link."""

    def replaced(found: re.Match[str]) -> str:
        return found["before"] + new(found["target"]) if found["target"] else found[0]

    return "\n".join(line if code else _LINK.sub(replaced, line) for _number, line, code in _lines(text))


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub names them."""
    found: dict[str, int] = {}
    for _number, line, code in _lines(text):
        heading = None if code else _HEADING.match(line)
        if heading:
            plain = _MARKUP.sub(lambda match: match[1] or "", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {slug if not number else f"{slug}-{number}" for slug, last in found.items() for number in range(last + 1)}
