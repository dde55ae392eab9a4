# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors in couch2pg's log. One error is several lines: an announcement, the error itself, and a stack trace."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypedDict

from ...common.redaction import Redactor
from . import lines as kinds
from .errors import ErrorKind, is_consequence, recognise, subject
from .remedies import Names, remedy

SUBJECTS = 10
EVIDENCE_LIMIT = 8192
# The place of an error in a source file, which Node.js prints before a SyntaxError.
_PLACE = re.compile(rb"\.[cm]?js:\d+$")
_STATUS_401 = re.compile(rb"\bstatus: 401\b|error: 'unauthorized'")
# The message within a printed error object. It has no line of its own.
_MESSAGE = re.compile(rb"\b(?:message|reason): ('[^'\n]*')")


@dataclass(frozen=True)
class ErrorSeen:
    """All errors of one kind: the first line (redacted), how many there are, their meaning, and the remedy for the last one."""

    kind: str
    first_line: str
    count: int
    meaning: str
    remedy: str
    subjects: tuple[str, ...]
    first_time: str
    last_time: str

    def as_dict(self) -> ShownError:
        """The errors for results and the record."""
        return {
            "kind": self.kind,
            "first_line": self.first_line,
            "count": self.count,
            "meaning": self.meaning,
            "remedy": self.remedy,
            "subjects": list(self.subjects),
            "first_time": self.first_time,
            "last_time": self.last_time,
        }


class ShownError(TypedDict):
    """``ErrorSeen`` as JSON."""

    kind: str
    first_line: str
    count: int
    meaning: str
    remedy: str
    subjects: list[str]
    first_time: str
    last_time: str


@dataclass
class _Counted:
    """The errors of one kind until now. line: the first one's most informative line; evidence: of the last one."""

    kind: ErrorKind
    line: bytes
    first: str
    last: str = ""
    count: int = 0
    evidence: bytes = b""
    # A dictionary, because it keeps the order.
    subjects: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Closed:
    """Whether a complete error ends the process, and whether it is an error of the refresh."""

    ends_process: bool
    of_refresh: bool


class Errors:
    """Errors by kind. An error is open from its announcement or first line until a line that doesn't belong to it."""

    _BODIES = (kinds.ERROR, kinds.THROWN)
    _WHOLE = (kinds.ENTRYPOINT_FAILED, kinds.SERVICE_GAVE_UP)
    _OPENING = (*kinds.ANNOUNCEMENTS, *_BODIES, *_WHOLE, kinds.CRASH)

    def __init__(self, redactor: Redactor, names: Names) -> None:
        self.open = False
        self._redact = redactor
        self._names = names
        self._opened_by = ""
        self._first = b""
        self._evidence = b""
        self._time = ""
        self._found: dict[str, _Counted] = {}

    def see(self, line: kinds.Line) -> Closed | None:
        """Read a line. Returns the error that this line completed."""
        # Node.js prints the place of a SyntaxError before the error itself.
        unnamed = not self._first or (line.kind == kinds.THROWN and _PLACE.search(self._first))
        if line.kind in self._BODIES and self.open and unnamed:
            self._first = line.text[:EVIDENCE_LIMIT]
            self.go_on(line.text)
            return None
        closed = self.close()
        if line.kind in self._OPENING:
            self.open = True
            self._opened_by = line.kind
            self._evidence = line.text[:EVIDENCE_LIMIT]
            self._first = self._evidence if line.kind in (*self._BODIES, *self._WHOLE) else b""
            self._time = line.time
        return closed

    def go_on(self, text: bytes) -> None:
        """Add a line to the open error, if there is one."""
        if self.open and len(self._evidence) < EVIDENCE_LIMIT:
            self._evidence += b"\n" + text[: EVIDENCE_LIMIT - len(self._evidence)]

    def close(self) -> Closed | None:
        """Complete and count the open error, if there is one."""
        if not self.open:
            return None
        self.open = False
        if self._found and is_consequence(self._evidence):
            return None
        kind = recognise(self._opened_by, self._evidence)
        seen = self._found.setdefault(kind.name, _Counted(kind, self._telling(), self._time))
        seen.count += 1
        seen.last = self._time
        seen.evidence = self._evidence
        named = subject(self._evidence)
        if named and len(seen.subjects) < SUBJECTS:
            seen.subjects[self._redact(named)] = True
        # After this error couch2pg ends without another message.
        refused = _STATUS_401.search(self._evidence) is not None or kind.name == "couchdb_unauthorized"
        refused = refused and self._opened_by == kinds.IMPORT_FAILED
        return Closed(refused or self._opened_by == kinds.CRASH, self._opened_by == kinds.XMLFORMS_FAILED)

    def _telling(self) -> bytes:
        """The most informative line of the open error."""
        first = self._first or self._evidence.split(b"\n", 1)[0]
        message = _MESSAGE.search(self._evidence)
        return b"error: " + message.group(1) if first.strip() == b"{" and message else first

    def all(self) -> tuple[ErrorSeen, ...]:
        """Every kind of error, in the order of its first line."""
        return tuple(
            ErrorSeen(
                kind=name,
                first_line=self._redact(seen.line),
                count=seen.count,
                meaning=seen.kind.meaning,
                remedy=remedy(seen.kind, seen.evidence, self._names, self._redact),
                subjects=tuple(seen.subjects),
                first_time=seen.first,
                last_time=seen.last,
            )
            for name, seen in self._found.items()
        )
