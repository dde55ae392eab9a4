# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a job, recognised by an environment variable that all its children inherit."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from . import container_programs

MARKER = container_programs.JOB
TERM_SECONDS = 10.0


def of_job(folder: Path) -> list[int]:
    """The living processes of the job in ``folder``, except this one."""
    wanted = f"{MARKER}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            # The process has ended, or belongs to another user and so not to the job.
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether the process still runs. A zombie counts as running until its last thread has ended.

    Only then are its files closed and its locks released (proc(5): field 3 is the state, field 20 the number of threads).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX" or int(fields[17]) > 1


def name(pid: int) -> str:
    """The program's name in the kernel (at most 15 characters); empty when the process has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def threads(pid: int) -> list[int]:
    """Thread ids of a process, sorted; empty when the process has ended."""
    try:
        return sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def in_container_of(process: int) -> dict[int, int]:
    """The processes in the container of ``process``: pids on this host, by the pids in the container."""
    found: dict[int, int] = {}
    try:
        # Every user may read the control group of a process, but not its namespaces.
        group = Path(f"/proc/{process}/cgroup").read_text(encoding="utf-8")
        depth = len(_ids(process))
    except (OSError, ValueError):
        return found
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cgroup").read_text(encoding="utf-8") == group:
                ids = _ids(int(entry.name))
                # Without control groups, all processes of the host are in the same group. So compare the depth of pid namespaces as well.
                if len(ids) == depth:
                    found[ids[-1]] = int(entry.name)
        except (OSError, ValueError):
            # The process has ended.
            continue
    return found


def _ids(process: int) -> list[int]:
    """The pids of a process, from this host's to the innermost container's. Raises OSError or ValueError when the process has ended."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    (ids,) = (line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
    return [int(one) for one in ids]


def kill_all(pids: list[int], patience: float = TERM_SECONDS) -> None:
    """End the processes with SIGTERM and, after ``patience`` seconds, with SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                # A process stopped by SIGSTOP must continue to handle the signal.
                os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + patience
        while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        pids = [pid for pid in pids if is_alive(pid)]
        if not pids:
            return
