# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A summary of couch2pg's log: runs, changes, errors and starts of the process, read in one pass and constant memory.

A log without errors doesn't show that couch2pg is healthy: see ``refresh_in_doubt``.
"""

from __future__ import annotations

import copy
import re
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Iterable

from ...common.redaction import Redactor
from . import lines as kinds
from .incidents import EVIDENCE_LIMIT, Closed, Errors, ErrorSeen
from .process import Process
from .remedies import Names

LAST_RUNS = 20
SAMPLES = 5
_NEXT_RUN = re.compile(rb"Next run at (\w{3} \w{3} \d\d \d{4} \d\d:\d\d:\d\d GMT[+-]\d{4})")


@dataclass(frozen=True)
class RunSeen:
    """A run: its start and end (as couch2pg logged them), outcome and changes, and whether it started a refresh."""

    started: str
    ended: str
    outcome: str
    changes: int
    refreshed: bool


@dataclass(frozen=True)
class LogSummary:
    """The summary of a log.

    starts, exits: of the process in the log. In a log since its start, a healthy process has at most 1 start and no exit.
    restart_counter: systemd's own, in a log of journald. refreshes: started ones, also when they failed.
    refresh_in_doubt: a refresh failed and none started since, so that a later 'Run completed' means nothing.
    last_completed, next_run: of the last complete run. kinds: the number of lines of each kind.
    """

    lines: int
    unknown: int
    unknown_samples: tuple[str, ...]
    kinds: dict[str, int]
    starts: int
    exits: int
    restart_counter: int
    runs_started: int
    runs_completed: int
    runs_errored: int
    changes: int
    runs: tuple[RunSeen, ...]
    refreshes: int
    refresh_in_doubt: bool
    errors: tuple[ErrorSeen, ...]
    last_completed: str
    next_run: str
    last_lines: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """The summary for results and the record."""
        return asdict(self)


def summarise(lines: Iterable[bytes], redactor: Redactor, last_lines: int = 10) -> LogSummary:
    """Read all ``lines``, which have no line ends."""
    reader = Reader(redactor, last_lines)
    for line in lines:
        reader.add(line)
    return reader.summary()


class Reader:
    """Reads line by line. Keeps counts, the last runs, one entry for each kind of error, and a few lines. names: for the remedies."""

    def __init__(self, redactor: Redactor, last_lines: int = 10, names: Names | None = None) -> None:
        self._redact = redactor
        self._lines = 0
        self._kinds: Counter[str] = Counter()
        self._samples: list[bytes] = []
        self._last: deque[tuple[bytes, bool]] = deque(maxlen=last_lines)
        self._process = Process()
        self._runs = _Runs()
        self._errors = Errors(redactor, names or Names())
        self._restart_counter = 0
        # Whether the line before was a DEBUG line that opens an object.
        self._object_opened = False

    def add(self, line: bytes) -> None:
        """Read the next line, without its line end."""
        self._lines += 1
        text = kinds.without_prefix(line)
        opened, self._object_opened = self._object_opened, False
        # Nearly all lines of a large log are of the first two kinds.
        if text.startswith(b"  ") and not self._errors.open:
            self._add_indented(text, opened)
        elif kinds.is_debug(text):
            self._add_debug(line, text)
        else:
            self._add_other(line, text.rstrip(b"\r"))

    def _add_debug(self, line: bytes, text: bytes) -> None:
        self._kinds[kinds.DEBUG] += 1
        if self._errors.open:
            self._closed(self._errors.close())
        self._last.append((line[:EVIDENCE_LIMIT], False))
        self._object_opened = text.endswith((b"{", b"{\r"))
        if not self._process.alive:
            self._process.see(kinds.DEBUG)

    def _add_indented(self, text: bytes, opened: bool) -> None:
        """A line below another one, outside of an error. opened: whether it is the first one in an object."""
        self._kinds[kinds.CONTINUATION] += 1
        if opened and text.startswith(b"  debug: "):
            self._process.see(kinds.OPTIONS)

    def _add_other(self, line: bytes, text: bytes) -> None:
        seen = kinds.classify(text)
        self._kinds[seen.kind] += 1
        if seen.kind == kinds.CONTINUATION:
            self._errors.go_on(text)
            return
        self._last.append((line[:EVIDENCE_LIMIT], seen.kind == kinds.UNKNOWN))
        if seen.kind == kinds.UNKNOWN:
            if len(self._samples) < SAMPLES:
                self._samples.append(line[:EVIDENCE_LIMIT])
            return
        if seen.kind == kinds.SERVICE_RESTARTS:
            self._restart_counter = max(self._restart_counter, seen.number)
        self._closed(self._errors.see(seen))
        self._process.see(seen.kind)
        self._runs.see(seen)

    def _closed(self, error: Closed | None) -> None:
        if error is not None and error.ends_process:
            self._process.ended()
        if error is not None and error.of_refresh:
            self._runs.refresh_failed = True

    def so_far(self) -> LogSummary:
        """The summary until now. More lines may follow."""
        return copy.deepcopy(self).summary()

    def summary(self) -> LogSummary:
        """The final summary. No line may be added after it."""
        self._closed(self._errors.close())
        runs = self._runs
        return LogSummary(
            lines=self._lines,
            unknown=self._kinds[kinds.UNKNOWN],
            unknown_samples=tuple(self._redact(line, strict=True) for line in self._samples),
            kinds={kind: count for kind, count in sorted(self._kinds.items()) if count},
            starts=self._process.starts,
            exits=self._process.exits,
            restart_counter=self._restart_counter,
            runs_started=self._kinds[kinds.RUN_STARTED],
            runs_completed=self._kinds[kinds.RUN_COMPLETED],
            runs_errored=self._kinds[kinds.RUN_ERRORED],
            changes=runs.changes,
            runs=runs.all(),
            refreshes=self._kinds[kinds.REFRESH],
            refresh_in_doubt=runs.refresh_failed,
            errors=self._errors.all(),
            last_completed=runs.last_completed,
            next_run=runs.next_run,
            last_lines=tuple(self._redact(line, strict=unknown) for line, unknown in self._last),
        )


@dataclass
class _Run:
    """A run that has not ended."""

    started: str
    changes: int = 0
    refreshed: bool = False


class _Runs:
    """The runs; details of the last ones only."""

    def __init__(self) -> None:
        self.changes = 0
        self.last_completed = ""
        self.next_run = ""
        self.refresh_failed = False
        self._done: deque[RunSeen] = deque(maxlen=LAST_RUNS)
        self._now: _Run | None = None

    def see(self, line: kinds.Line) -> None:
        if line.kind == kinds.RUN_STARTED:
            self._end("unfinished", "")
            self._now = _Run(line.time)
        elif line.kind in (kinds.CHANGES, kinds.REFRESH):
            # A log may start in the middle of a run.
            self._now = self._now or _Run("")
            self._now.changes += line.number
            self.changes += line.number
            if line.kind == kinds.REFRESH:
                self._now.refreshed = True
                self.refresh_failed = False
        elif line.kind in (kinds.RUN_COMPLETED, kinds.RUN_ERRORED):
            self._now = self._now or _Run("")
            completed = line.kind == kinds.RUN_COMPLETED
            self._end("completed" if completed else "errored", line.time)
            found = _NEXT_RUN.search(line.text)
            self.next_run = found.group(1).decode() if found else ""
            if completed:
                self.last_completed = line.time

    def _end(self, outcome: str, time: str) -> None:
        if self._now is not None:
            now = self._now
            self._done.append(RunSeen(now.started, time, outcome, now.changes, now.refreshed))
            self._now = None

    def all(self) -> tuple[RunSeen, ...]:
        self._end("unfinished", "")
        return tuple(self._done)
