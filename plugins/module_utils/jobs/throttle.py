# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enforce a job's limits while it runs, on a host that others use."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator

from ..common.errors import MigrationError
from ..host import processes, programs
from ..postgres import backends
from ..postgres.connection import APPLICATION_NAME, ConnectionSettings
from ..postgres.session import Session
from . import limits

POLL_SECONDS = 0.5
# Shorter than POLL_SECONDS, because a fast disk reads 100 MB in half a second.
PACE_SECONDS = 0.1
# Unused allowance of at most this many seconds may be spent later; more would be a burst.
BURST_SECONDS = 1.0
NEW_PROCESSES_EVERY = 4
# Options of ionice for each class; best-effort uses its lowest priority.
_IONICE = {"none": ["-c", "0"], "best-effort": ["-c", "2", "-n", "7"], "idle": ["-c", "3"]}


class Throttle:
    """Applies the limits in a job's folder, and reads them again every POLL_SECONDS."""

    def __init__(
        self, folder: Path, settings: ConnectionSettings | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._limits = limits.Limits()
        self._credit = 0.0
        self._credited = clock()
        self._adjusted: set[int] = set()
        self._session: Session | None = None
        self._thread = threading.Thread(target=self._update_repeatedly, daemon=True)

    def __enter__(self) -> Throttle:
        self.update(find_new=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def charge(self, amount: int) -> float:
        """Record that ``amount`` bytes were read; returns the seconds to wait before reading more."""
        with self._lock:
            rate = self._limits.rate_limit
            now = self._clock()
            self._credit = min(self._credit + (now - self._credited) * rate, BURST_SECONDS * rate) - amount
            self._credited = now
            if not rate:
                self._credit = 0.0
                return 0.0
            return max(-self._credit / rate, 0.0)

    def wait(self, amount: int, stop: threading.Event | None = None) -> None:
        """Record that ``amount`` bytes were read, and wait as long as the limit demands; ``stop`` ends the wait."""
        left = self.charge(amount)
        while left > 0 and not (stop is not None and stop.is_set()):
            time.sleep(min(left, POLL_SECONDS))
            # The limit may have changed in the meantime.
            left = self.charge(0)

    @contextmanager
    def pacing(self, program: str, done: Callable[[], int]) -> Iterator[None]:
        """Limit the rate of an external program by stopping and continuing its processes (SIGSTOP, SIGCONT).

        program: the name of the program; done: returns the bytes that it has read so far.
        """
        stop = threading.Event()
        thread = threading.Thread(target=self._pace, args=(program, done, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _pace(self, program: str, done: Callable[[], int], stop: threading.Event) -> None:
        before: int | None = 0
        stopped, signalled = False, 0.0
        while not stop.wait(PACE_SECONDS if self._limits.rate_limit else POLL_SECONDS):
            if not self._limits.rate_limit and not stopped:
                # Bytes read without a limit must not count against a limit that is set later.
                before = None
                continue
            exceeded = False
            # When the server doesn't answer, let the program run, so that it notices too.
            with suppress(MigrationError):
                now = done()
                exceeded = self.charge(0 if before is None else now - before) > 0
                before = now
            if exceeded:
                # Again and again, because a program in a container starts late, and because programs start workers.
                if not stopped or time.monotonic() - signalled >= POLL_SECONDS:
                    stopped = self._signal(program, signal.SIGSTOP) or stopped
                    signalled = time.monotonic()
            elif stopped:
                self._signal(program, signal.SIGCONT)
                stopped = False
        if stopped:
            self._signal(program, signal.SIGCONT)

    def _signal(self, program: str, number: int) -> bool:
        """Send the signal to each process of the program; returns whether there is one."""
        found = [pid for pid in processes.of_job(self._folder) if processes.name(pid) == program]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return bool(found)

    def _update_repeatedly(self) -> None:
        updates = 0
        while not self._stop.wait(POLL_SECONDS):
            updates += 1
            # The job and the server start new processes all the time.
            self.update(find_new=updates % NEW_PROCESSES_EVERY == 0)
        if self._session is not None:
            self._session.close()

    def update(self, find_new: bool) -> None:
        """Read the limits and adjust the job's processes; with ``find_new``, also processes started since the last time."""
        found = limits.load(self._folder)
        before = self._limits
        with self._lock:
            self._limits = found
        changed = (found.nice, found.io_class) != (before.nice, before.io_class)
        if changed:
            self._adjusted.clear()
        # A change back to the defaults adjusts existing processes; new ones have the defaults already.
        if changed or (find_new and (found.nice, found.io_class) != (0, "none")):
            for pid in {os.getpid(), *processes.of_job(self._folder), *self._backends()} - self._adjusted:
                _apply(pid, found)
                self._adjusted.add(pid)

    def _backends(self) -> list[int]:
        """The server's processes that serve this job, when they run on this host: they cause most of the load."""
        if self._settings is None or not backends.may_be_here(self._settings):
            return []
        try:
            if self._session is None:
                self._session = Session(self._settings)
            rows = self._session.rows(
                "SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = %s AND datname = %s",
                [APPLICATION_NAME, self._settings.database],
            )
        except MigrationError:
            # The work itself reports that the server is gone.
            self._session = None
            return []
        return backends.on_this_host(self._settings, [row["pid"] for row in rows])


def _apply(pid: int, wanted: limits.Limits) -> None:
    # On Linux niceness belongs to each thread; new threads inherit it from the thread that starts them.
    threads = processes.threads(pid)
    for thread in threads:
        # Only root may lower the niceness; a process may have ended.
        with suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, wanted.nice)
    ionice = shutil.which("ionice")
    if ionice and threads:
        with suppress(OSError, subprocess.TimeoutExpired):
            # ionice fails when one of the threads has ended; ignore that.
            programs.ask([ionice, "-t", *_IONICE[wanted.io_class], "-p", *map(str, threads)])
