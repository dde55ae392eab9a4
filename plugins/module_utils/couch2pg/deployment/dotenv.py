# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compose's ``.env``: which part of it sets which variable, and the notations of a value.

Versions of Compose read quotes and escapes differently. So the caller tries one notation after the other, until Compose reads the
value correctly.
"""

from __future__ import annotations

import re
from typing import Callable

from .env_text import Assignment

_LINE = re.compile(r"^[ \t]*((?:export[ \t]+)?)([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*[=:]([^\n]*)", re.MULTILINE)
_OPENING = re.compile(r"[ \t]*(['\"])")


def parse(text: str) -> list[Assignment]:
    """The assignments, each with its value as written, including quotes."""
    found: list[Assignment] = []
    place = 0
    while True:
        line = _LINE.search(text, place)
        if line is None:
            return found
        end = _end(text, line.start(3), line.end())
        start = line.start(1)
        found.append(Assignment(line.group(2), text[line.start(3) : end].strip(), start, end, line.group(1)))
        place = end


def _end(text: str, start: int, line_end: int) -> int:
    """The end of a value, which may continue over several lines in quotes."""
    opening = _OPENING.match(text, start, line_end)
    if opening is None:
        return line_end
    quote = opening.group(1)
    body = re.compile(rf"(?:[^{quote}\\]|\\.)*{quote}[^\n]*", re.DOTALL)
    closed = body.match(text, opening.end())
    # A quote that is never closed is an ordinary character.
    return closed.end() if closed else line_end


def _bare(name: str, value: str) -> str:
    return f"{name}={value}"


def _single(name: str, value: str) -> str:
    return f"{name}='{value}'"


def _single_escaped(name: str, value: str) -> str:
    return "{}='{}'".format(name, value.replace("\\", "\\\\").replace("'", "\\'"))


def _double(name: str, value: str) -> str:
    return '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$"))


def _double_raw_dollar(name: str, value: str) -> str:
    return '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"'))


def _single_quote_escaped(name: str, value: str) -> str:
    return "{}='{}'".format(name, value.replace("'", "\\'"))


def _double_dollar_doubled(name: str, value: str) -> str:
    return '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$"))


def _single_no_name(name: str, value: str) -> str:
    """For version 1, which expands ${NAME} in both kinds of quotes: ${:-$} without a name expands to its default $."""
    return _single_escaped(name, value).replace("${", "${:-$}{")


_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")
_WAYS: tuple[Callable[[str, str], str], ...] = (
    _single,
    _double,
    _single_quote_escaped,
    _single_escaped,
    _double_raw_dollar,
    _double_dollar_doubled,
    _single_no_name,
    # Version 1 before 1.26 takes quotes as a part of the value.
    _bare,
)


def is_plain(value: str) -> bool:
    """Whether every version of Compose reads the value without quotes."""
    return _PLAIN.fullmatch(value) is not None


def ways(name: str, value: str) -> list[str]:
    """The lines that may set ``name`` to ``value``, the most common notation first."""
    order = (_bare, *_WAYS[:-1]) if is_plain(value) else _WAYS
    return list(dict.fromkeys(way(name, value) for way in order))
