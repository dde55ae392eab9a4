# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd's two notations of variables: the file of ``EnvironmentFile=``, and the lists that ``systemctl show`` prints."""

from __future__ import annotations

import re
from typing import Iterator

from ...common.errors import MigrationError
from .env_text import Assignment

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# systemd ignores variables with control characters other than tab and newline.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SPACE = " \t\n\r"
_NEWLINE = "\n\r"
_ESCAPED = '"\\`$'
_C_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_NUMBERED = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})")


def parse(text: str) -> list[Assignment]:
    """The assignments of an environment file, as systemd reads them. Lines that systemd ignores are left out."""
    found = []
    place = 0
    while place < len(text):
        if text[place] in _SPACE:
            place += 1
        elif text[place] in "#;":
            place = _behind_comment(text, place)
        else:
            start = place
            match = re.compile(r"([^=\n\r]*)(=?)").match(text, place)
            if match is None or not match.group(2):
                place = (match.end() if match else place) + 1
                continue
            value, place = _value(text, match.end())
            name = match.group(1).rstrip(_SPACE)
            if _NAME.match(name) and not _CONTROL.search(value):
                found.append(Assignment(name, value, start, place))
    return found


def _behind_comment(text: str, place: int) -> int:
    # After a backslash, the comment continues on the next line.
    while place < len(text) and text[place] not in _NEWLINE:
        place += 2 if text[place] == "\\" else 1
    return place


def _value(text: str, place: int) -> tuple[str, int]:
    """The value that starts at ``place``, and its end: the end of the line or of the text."""
    parts: list[str] = []
    # The start of unquoted text, whose trailing spaces don't count.
    bare: int | None = None
    while place < len(text) and text[place] not in _NEWLINE:
        letter = text[place]
        if letter == "\\":
            if text[place + 1 : place + 2] not in ("", *_NEWLINE):
                parts.append(text[place + 1])
            place += 2
            bare = len(parts)
        elif bare is None and letter in "'\"":
            quoted, place = _quoted(text, place)
            parts += quoted
        elif bare is None and letter in _SPACE:
            place += 1
        else:
            bare = len(parts) if bare is None else bare
            parts.append(letter)
            place += 1
    if bare is not None:
        while len(parts) > bare and parts[-1] in _SPACE:
            parts.pop()
    return "".join(parts), min(place, len(text))


def _quoted(text: str, place: int) -> tuple[list[str], int]:
    quote = text[place]
    place += 1
    parts: list[str] = []
    while place < len(text) and text[place] != quote:
        letter = text[place]
        if quote == '"' and letter == "\\":
            place += 1
            letter = text[place : place + 1]
            if letter not in _ESCAPED and letter != "\n":
                parts.append("\\")
            if letter == "\n":
                letter = ""
        parts.append(letter)
        place += 1
    return parts, place + 1


def shown_list(text: str) -> list[str]:
    """The words of a list as ``systemctl show`` prints it, quoted where it must be.

    Raises MigrationError ``systemd_property`` where systemctl left something out.
    """
    return list(_words(text))


def _words(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        if text[place] == " ":
            place += 1
            continue
        word: list[str] = []
        quoted = text[place] == '"' or text.startswith("$'", place)
        closing = {'"': '"', "$": "'"}[text[place]] if quoted else " "
        place += 1 + (closing == "'") if quoted else 0
        while place < len(text) and text[place] != closing:
            if quoted and text[place] == "\\":
                letter, place = _c_escape(text, place + 1)
                word.append(letter)
            else:
                word.append(text[place])
                place += 1
        place += quoted
        whole = "".join(word)
        if whole == "[unprintable]":
            raise MigrationError(
                "systemctl doesn't show couch2pg's variables whole, since one has a space in it. Set them in an EnvironmentFile= "
                "instead of Environment=, or use systemd 242 or later.",
                "systemd_property",
            )
        yield whole


def _c_escape(text: str, place: int) -> tuple[str, int]:
    numbered = _NUMBERED.match(text, place)
    if numbered:
        octal = numbered.group(4)
        return chr(int(octal, 8) if octal else int(numbered.group(numbered.lastindex or 0), 16)), numbered.end()
    letter = text[place : place + 1]
    return _C_ESCAPES.get(letter, letter), place + 1
