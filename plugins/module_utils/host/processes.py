# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that belong to a job, known by a variable in the environment that all its children inherit."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

MARKER = "COUCH2PG_JOB"
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
            # Gone, or another user's: then it isn't ours.
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether anything of the process still runs: a killed one is a zombie before its last thread is gone.

    Only then are its files closed and its locks free (proc(5): field 3 is the state, field 20 the threads).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX" or int(fields[17]) > 1


def name(pid: int) -> str:
    """The program's name as the kernel has it (15 characters); empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def threads(pid: int) -> list[int]:
    """Numbers of the threads of a process, the first of which is its own; empty when it is gone."""
    try:
        return sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def kill_all(pids: list[int], patience: float = TERM_SECONDS) -> None:
    """End the processes: politely, then, after ``patience`` seconds, for good."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                # One that was halted must go on to end.
                os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + patience
        while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        pids = [pid for pid in pids if is_alive(pid)]
        if not pids:
            return
