# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a step of a benchmark uses: processor time of each server and of everything else that it starts, and memory.

Processor time says where a step's time goes, and depends less than wall time on what else the machine does.
"""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from support.clusters import Cluster

LOOK_SECONDS = 0.1
TICKS = os.sysconf("SC_CLK_TCK")
MARK = "COUCH2PG_BENCH_STEP"
_PROC = Path("/proc")


@dataclass
class Usage:
    """Processor seconds by ``source``, ``target`` (the servers) and ``others``, and the most bytes of one other process."""

    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0


@contextmanager
def measured(source: Cluster, target: Cluster) -> Iterator[Usage]:
    """Measure what happens inside. Processes count that are started here, detached ones too."""
    usage, mark, stop = Usage(), secrets.token_hex(8), threading.Event()
    os.environ[MARK] = mark
    seen: dict[int, float] = {}
    watcher = threading.Thread(target=_watch, args=(usage, mark.encode(), seen, stop))
    before = {name: _server_seconds(server) for name, server in (("source", source), ("target", target))}
    watcher.start()
    try:
        yield usage
    finally:
        stop.set()
        watcher.join()
        after = {name: _server_seconds(server) for name, server in (("source", source), ("target", target))}
        usage.seconds = {name: after[name] - before[name] for name in after}
        usage.seconds["others"] = sum(seen.values())


def pin(server: Cluster, processor: int) -> None:
    """Keep a server's processes, also those of later sessions, on one processor."""
    postmaster = _postmaster(server)
    for pid in (postmaster, *map(int, _children(postmaster))):
        os.sched_setaffinity(pid, {processor})


def _postmaster(server: Cluster) -> int:
    return int((server.data_directory / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])


def _server_seconds(server: Cluster) -> float:
    """Processor time of a server's processes until now, the ended ones included."""
    postmaster = _postmaster(server)
    living = sum(sum(_times(int(pid))[:2]) for pid in _children(postmaster))
    return living + sum(_times(postmaster))


def _watch(usage: Usage, mark: bytes, seen: dict[int, float], stop: threading.Event) -> None:
    strangers: set[int] = {os.getpid()}
    while not stop.wait(LOOK_SECONDS):
        there = {int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()}
        # A process has no environment between fork and exec: it counts from the next look on.
        for pid in there - strangers:
            with suppress(OSError, ValueError):
                if pid not in seen and mark not in (_PROC / str(pid) / "environ").read_bytes():
                    strangers.add(pid)
                    continue
                seen[pid] = sum(_times(pid)[:2])
                usage.peak_bytes = max(usage.peak_bytes, _peak_bytes(pid))


def _times(pid: int) -> list[float]:
    """User and system time of a process in seconds, then those of its children that have ended."""
    try:
        words = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return [0.0] * 4
    return [int(word) / TICKS for word in words[11:15]]


def _children(pid: int) -> list[str]:
    return (_PROC / str(pid) / "task" / str(pid) / "children").read_text(encoding="utf-8").split()


def _peak_bytes(pid: int) -> int:
    for line in (_PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
