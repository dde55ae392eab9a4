# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and ends of couch2pg's process in its log."""

from __future__ import annotations

from . import lines as kinds


class Process:
    """Counts starts and ends by lines that appear only then. Whether the process ran before the first line is unknown."""

    _AT_START = (kinds.BANNER, kinds.SERVICE_STARTED, kinds.ADAPTER)
    _EARLY = (*_AT_START, kinds.MIGRATION, kinds.DRIVER_NOTICE, kinds.ENTRYPOINT, kinds.UNRECOVERABLE, kinds.CRASH)
    _ENDS = (kinds.EXITING, kinds.ENTRYPOINT_FAILED, kinds.SERVICE_ENDED)
    _NOT_ITS_OWN = (kinds.SERVICE_ENDED, kinds.SERVICE_RESTARTS, kinds.SERVICE_GAVE_UP, kinds.SERVICE)

    def __init__(self) -> None:
        self.starts = 0
        self.exits = 0
        self.alive = False
        # The kinds of lines of the present process, and whether its start was in the log.
        self._seen: set[str] = set()
        self._start_seen = True
        self._last = ""

    def see(self, kind: str) -> None:
        """Read a line of the log."""
        before, self._last = self._last, kind
        if kind == before == kinds.OPTIONS and self.alive:
            # A process logs its settings once before its first run. With Node.js 14 or later, a stock couch2pg ends after that.
            self.exits += 1
            self._start(seen=True)
        elif not self.alive and kind not in self._NOT_ITS_OWN:
            # In the middle of a log, the process may have started before.
            self._start(seen=self.starts + self.exits > 0 or kind in self._EARLY)
        elif kind in self._AT_START and (kind in self._seen or kinds.RUN_STARTED in self._seen):
            # The process before this one was killed, or ended without a message.
            self.exits += 1
            self._start(seen=True)
        elif (
            kind in self._AT_START
            and not self._start_seen
            and self._seen <= {kinds.DEBUG, kinds.OPTIONS, kinds.MIGRATION}
        ):
            # A process logs its settings and migrations before this line.
            self.starts += 1
            self._start_seen = True
        self._seen.add(kind)
        if kind in self._ENDS:
            self.ended()

    def ended(self) -> None:
        """The process has ended."""
        self.exits += self.alive
        self.alive = False

    def _start(self, seen: bool) -> None:
        self.starts += seen
        self.alive = True
        self._start_seen = seen
        self._seen = set()
