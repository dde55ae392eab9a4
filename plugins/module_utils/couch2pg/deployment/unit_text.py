# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a systemd unit without the settings that it gives: those are secret, and written anew where it goes."""

from __future__ import annotations

import re
from typing import Iterator

_SETS = re.compile(r"\s*(Environment|SetCredential|SetCredentialEncrypted)\s*=")
# One that was commented out still has its password.
_COMMENT = re.compile(r"\s*[#;]")
_COMMENTED = re.compile(r"(Environment|SetCredential\w*)\s*=|PASS|SECRET|TOKEN|://\S*@", re.IGNORECASE)
_EMPTY = re.compile(r"\s*(\[\w+\]\s*)?([#;].*)?")


def without_settings(text: str) -> str:
    """The same unit, its other lines byte for byte."""
    return "".join(
        line
        for line in _logical(text)
        if not _SETS.match(line) and not (_COMMENT.match(line) and _COMMENTED.search(line))
    )


def says_something(text: str) -> bool:
    """Whether there is a line that is neither empty, a comment, nor the head of a section."""
    return any(not _EMPTY.fullmatch(line) for line in text.splitlines())


def _logical(text: str) -> Iterator[str]:
    """Its lines, those that go on in the next one together with that. Comments in between belong to them."""
    pending = ""
    for line in text.splitlines(keepends=True):
        comment = _COMMENT.match(line) is not None
        pending += line
        if line.rstrip("\r\n").endswith("\\") and not (comment and pending == line):
            continue
        if comment and pending != line:
            continue
        yield pending
        pending = ""
    if pending:
        yield pending
