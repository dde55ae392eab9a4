# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a systemd unit without its settings, which are secret, and are written again on the target."""

from __future__ import annotations

import re
from typing import Iterator

_SETS = re.compile(r"\s*(Environment|SetCredential|SetCredentialEncrypted)\s*=")
# A line that was commented out may still contain a password.
_COMMENT = re.compile(r"\s*[#;]")
_COMMENTED = re.compile(r"(Environment|SetCredential\w*)\s*=|PASS|SECRET|TOKEN|://\S*@", re.IGNORECASE)
_EMPTY = re.compile(r"\s*(\[\w+\]\s*)?([#;].*)?")


def without_settings(text: str) -> str:
    """The text without the lines that contain settings. The other lines stay byte for byte the same."""
    return "".join(
        line
        for line in _logical(text)
        if not _SETS.match(line) and not (_COMMENT.match(line) and _COMMENTED.search(line))
    )


def says_something(text: str) -> bool:
    """Whether the text has a line other than empty lines, comments and headers of sections."""
    return any(not _EMPTY.fullmatch(line) for line in text.splitlines())


def _logical(text: str) -> Iterator[str]:
    """Logical lines: a continued line together with the next ones, and with comments between them."""
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
