# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a process still the one that was started? Its number alone doesn't tell: its time of start does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from . import processes

SAME, GONE, UNKNOWN = "same", "gone", "unknown"


class SameProcess:
    """Looks at the process that ``identity`` names (``pid``; ``running`` false says that there is none), from this moment on.

    A container's process has a number on the host, too.
    """

    def __init__(self, identity: Mapping[str, Any] | None) -> None:
        self.identity = dict(identity or {})
        self._pid = int(self.identity.get("pid") or 0)
        self._start = _start(self._pid)

    def look(self) -> str:
        """``same``, ``gone``, or ``unknown`` when it was not named, or this host hides what others run."""
        if self.identity.get("running") is False:
            return GONE
        if not self._pid or not Path("/proc/1").exists():
            return UNKNOWN
        return SAME if self._start and processes.is_alive(self._pid) and _start(self._pid) == self._start else GONE


def _start(pid: int) -> str:
    """The process's start in clock ticks since the machine's (proc(5): field 22); empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19] if pid else ""
    except (OSError, IndexError):
        return ""
