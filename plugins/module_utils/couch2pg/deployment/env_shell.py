# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of variables as a shell reads it (``. ./couch2pg.env``).

The operator's file is parsed, and never executed. Lines that only a shell can resolve are refused.
"""

from __future__ import annotations

import re

from ...common.errors import MigrationError
from .env_text import Assignment

_BLANK = re.compile(r"(?:[ \t\n;]|\\\n|(?:(?<=[\s;])|^)#[^\n]*)*", re.MULTILINE)
_NAME = re.compile(r"((?:export[ \t]+)?)([A-Za-z_][A-Za-z0-9_]*)=")
_SETTING = re.compile(r"(?:set [-+]\w|set -o \w+|export( [A-Za-z_]\w*)+)[ \t]*(?=\n|;|$)")
_SIMPLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_END = " \t\n;"
_OPERATORS = "&|<>()"


def parse(text: str, where: str = "the file") -> list[Assignment]:
    """The assignments in the text. Raises MigrationError ``env_file``, which names the line that can't be read."""
    return _Reader(text, where).read()


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._known: dict[str, str] = {}
        self._place = 0

    def read(self) -> list[Assignment]:
        found: list[Assignment] = []
        while True:
            self._place = self._behind(_BLANK)
            if self._place >= len(self._text):
                return found
            setting = _SETTING.match(self._text, self._place)
            if setting:
                self._place = setting.end()
                continue
            name = _NAME.match(self._text, self._place)
            if name is None:
                raise self._refused("is no assignment of a variable")
            start, self._place = self._place, name.end()
            value = self._value()
            self._known[name.group(2)] = value
            found.append(Assignment(name.group(2), value, start, self._place, name.group(1)))
            self._expect_end()

    def _behind(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._place)
        return match.end() if match else self._place

    def _value(self) -> str:
        parts = []
        while self._place < len(self._text) and self._text[self._place] not in _END:
            letter = self._text[self._place]
            if letter == "'":
                parts.append(self._single())
            elif letter == '"':
                self._place += 1
                parts.append(self._double())
            elif letter in _OPERATORS:
                raise self._refused(f"has a {letter} outside of quotes, where a shell ends the value")
            else:
                parts.append(self._one(letter, quotes=False))
        return "".join(parts)

    def _single(self) -> str:
        end = self._text.find("'", self._place + 1)
        if end < 0:
            raise self._refused("has a quote that isn't closed")
        value = self._text[self._place + 1 : end]
        self._place = end + 1
        return value

    def _double(self) -> str:
        parts: list[str] = []
        opened = self._place
        while self._place < len(self._text):
            letter = self._text[self._place]
            if letter == '"':
                self._place += 1
                return "".join(parts)
            parts.append(self._one(letter, quotes=True))
        self._place = opened
        raise self._refused("has a quote that isn't closed")

    def _one(self, letter: str, quotes: bool) -> str:
        """One character of a value, or an escape or a variable, resolved."""
        if letter == "\\":
            return self._escaped(quotes)
        if letter == "$":
            return self._variable()
        if letter == "`":
            raise self._refused("runs a command")
        self._place += 1
        return letter

    def _escaped(self, quotes: bool) -> str:
        following = self._text[self._place + 1 : self._place + 2]
        self._place += 2
        if following == "\n":
            return ""
        return "\\" + following if quotes and following not in '"\\$`' else following

    def _variable(self) -> str:
        simple = _SIMPLE.match(self._text, self._place)
        if simple:
            name = simple.group(1) or simple.group(2)
            if name not in self._known:
                raise self._refused(f"takes ${name}, which the file doesn't set before")
            self._place = simple.end()
            return self._known[name]
        if re.match(r"[({\w@*#?$!'\"-]", self._text[self._place + 1 : self._place + 2]):
            raise self._refused("has a $ that only a shell can resolve")
        self._place += 1
        return "$"

    def _expect_end(self) -> None:
        rest = self._text[self._place :].partition("\n")[0].strip(" \t")
        if rest and not rest.startswith((";", "#")) and not _NAME.match(rest):
            raise self._refused("has more than one word outside of quotes: a shell would run the second as a command")

    def _refused(self, what: str) -> MigrationError:
        number = self._text.count("\n", 0, self._place) + 1
        return MigrationError(
            f'Line {number} of {self._where} {what}. Write NAME="value" there, with a backslash before each " \\ $ and ` of '
            "the value.",
            "env_file",
            line=number,
        )
