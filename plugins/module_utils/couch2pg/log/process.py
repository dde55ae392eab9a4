# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and ends of couch2pg's process in its log."""

from __future__ import annotations

from . import lines as kinds

# A process begins with these lines. Before them, it may have logged its settings and its migrations.
_BANNERS = (kinds.BANNER, kinds.SERVICE_STARTED, kinds.ADAPTER)
_BEFORE_BANNER = {kinds.DEBUG, kinds.OPTIONS, kinds.MIGRATION}
# Lines that a process never logs in the middle of its work.
_EARLY = (*_BANNERS, kinds.MIGRATION, kinds.DRIVER_NOTICE, kinds.ENTRYPOINT, kinds.UNRECOVERABLE, kinds.CRASH)
_LAST = (kinds.EXITING, kinds.ENTRYPOINT_FAILED, kinds.SERVICE_ENDED)
_OF_SYSTEMD = (kinds.SERVICE_ENDED, kinds.SERVICE_RESTARTS, kinds.SERVICE_GAVE_UP, kinds.SERVICE)


class Process:
    """Counts the starts and ends of couch2pg's processes that show in the log.

    alive: whether a process has logged something, and nothing says that it ended. The log may begin in the middle of a process,
    whose start doesn't count.
    """

    def __init__(self) -> None:
        self.starts = 0
        self.exits = 0
        self.alive = False
        # Of the present process: the kinds of its lines, the last one, and whether its start was counted.
        self._kinds: set[str] = set()
        self._last = ""
        self._counted = False

    def see(self, kind: str) -> None:
        """Read a line of this kind. DEBUG lines of a process that is alive may be left out."""
        if self.alive and self._is_of_the_next(kind):
            self.ended()
        if self.alive and kind in _BANNERS and self._kinds <= _BEFORE_BANNER:
            self._count_start()
        elif not self.alive and kind not in _OF_SYSTEMD:
            self._begin()
            # A process that follows another one, or whose first line is an early one, was started within this log.
            if self.starts or self.exits or kind in _EARLY:
                self._count_start()
        self._kinds.add(kind)
        self._last = kind
        if kind in _LAST:
            self.ended()

    def ended(self) -> None:
        """The process has ended."""
        self.exits += self.alive
        self.alive = False

    def _is_of_the_next(self, kind: str) -> bool:
        """Whether a line can only come from a new process. Then the present one was killed, or ended without a message."""
        if kind == kinds.OPTIONS:
            # A process logs its settings before its first run and after each run, so never twice in succession. With Node.js 14
            # or later, a stock couch2pg logs nothing else.
            return self._last == kinds.OPTIONS
        return kind in _BANNERS and (kind in self._kinds or kinds.RUN_STARTED in self._kinds)

    def _begin(self) -> None:
        self.alive = True
        self._kinds = set()
        self._last = ""
        self._counted = False

    def _count_start(self) -> None:
        self.starts += not self._counted
        self._counted = True
