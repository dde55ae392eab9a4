# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognise whether a process is still the same one. A pid can be reused, so its start time is compared as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from . import processes

SAME, GONE, UNKNOWN = "same", "gone", "unknown"


class SameProcess:
    """Watches the process that has ``identity["pid"]`` now; ``running`` false in it means that there is no process.

    Works for containers too: their processes have a pid on the host.
    """

    def __init__(self, identity: Mapping[str, Any] | None) -> None:
        self.identity = dict(identity or {})
        self._pid = int(self.identity.get("pid") or 0)
        self._start = _start(self._pid)

    def state(self) -> str:
        """SAME, GONE, or UNKNOWN when no pid was given or this host hides processes of other users (hidepid)."""
        if self.identity.get("running") is False:
            return GONE
        if not self._pid or not Path("/proc/1").exists():
            return UNKNOWN
        return SAME if self._start and processes.is_alive(self._pid) and _start(self._pid) == self._start else GONE


def _start(pid: int) -> str:
    """The process's start time in clock ticks since boot (proc(5): field 22); empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19] if pid else ""
    except (OSError, IndexError):
        return ""
