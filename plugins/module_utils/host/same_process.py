# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognise whether a process is still the same one.

A pid can be reused, so its start time is compared as well. Without a pid, the operator's own status command decides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

from . import processes
from .programs import ASK_SECONDS, NOT_ENDED, call

SAME, GONE, UNKNOWN = "same", "gone", "unknown"


class SameProcess:
    """Watches the process whose current pid is ``identity["pid"]``; ``identity["running"]`` is false when there is no process.

    Works for containers too: their processes have a pid on the host. status_command: run when there is no pid; it must end with
    exit code 0 while the process runs, and may print pids, as ``pgrep`` does.
    """

    def __init__(self, identity: Mapping[str, Any] | None, status_command: Sequence[str] = ()) -> None:
        self.identity = dict(identity or {})
        self._pid = int(self.identity.get("pid") or 0)
        self._start = _start(self._pid)
        self._command = tuple(status_command) if not self._pid else ()
        self._printed: set[str] | None = None

    def state(self) -> str:
        """SAME, GONE, or UNKNOWN: no pid was given, the command didn't end, or this host hides processes of other users (hidepid)."""
        if self.identity.get("running") is False:
            return GONE
        if self._command:
            return self._ask()
        if not self._pid or not Path("/proc/1").exists():
            return UNKNOWN
        return SAME if self._start and processes.is_alive(self._pid) and _start(self._pid) == self._start else GONE

    def _ask(self) -> str:
        code, lines = call(self._command, ASK_SECONDS)
        if code == NOT_ENDED:
            return UNKNOWN
        if code != 0:
            return GONE
        words = " ".join(lines).split()
        pids = set(words) if all(word.isdigit() for word in words) else set()
        if self._printed is None:
            self._printed = pids
        # The command may also print pids of other processes, which start and end. GONE needs that all pids of the first call have ended.
        return GONE if self._printed and self._printed.isdisjoint(pids) else SAME


def _start(pid: int) -> str:
    """The process's start time in clock ticks since boot (proc(5): field 22); empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19] if pid else ""
    except (OSError, IndexError):
        return ""
