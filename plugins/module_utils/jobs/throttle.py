# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparing a host that others work on: the limits of a job, kept while it runs."""

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
from ..postgres.connection import APPLICATION_NAME, ConnectionSettings, Session
from . import limits

POLL_SECONDS = 0.5
# A fast disk gives 100 MB in half a second.
PACE_SECONDS = 0.1
# So much of the past second may be made up for; more would be a burst.
BURST_SECONDS = 1.0
NEW_PROCESSES_EVERY = 4
LOCAL_HOSTS = ("", "localhost", "127.0.0.1", "::1")
# ionice's numbers of the classes; within best-effort, the last level.
_IONICE = {"none": ["-c", "0"], "best-effort": ["-c", "2", "-n", "7"], "idle": ["-c", "3"]}


class Sparing:
    """Keeps to the limits in the folder of a job, which are read anew all the time."""

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
        self._treated: set[int] = set()
        self._session: Session | None = None
        self._thread = threading.Thread(target=self._keep_following, daemon=True)

    def __enter__(self) -> Sparing:
        self.follow(look_for_new=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def charge(self, amount: int) -> float:
        """Note that so many bytes were read; returns the seconds to wait before more may be."""
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
        """Note that so many bytes were read, and wait as the limit asks for; ``stop`` ends the waiting."""
        left = self.charge(amount)
        while left > 0 and not (stop is not None and stop.is_set()):
            time.sleep(min(left, POLL_SECONDS))
            # The limit may have been lifted meanwhile.
            left = self.charge(0)

    @contextmanager
    def pacing(self, program: str, done: Callable[[], int]) -> Iterator[None]:
        """Halt and continue the job's processes of ``program``, which reads as fast as it can.

        ``done`` tells the bytes read so far.
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
        halted = False
        while not stop.wait(PACE_SECONDS if self._limits.rate_limit else POLL_SECONDS):
            if not self._limits.rate_limit and not halted:
                # What is read while there is no limit is not made up for when there is one.
                before = None
                continue
            wanted = False
            # Where the server doesn't answer, the program has to find that out, too.
            with suppress(MigrationError):
                now = done()
                wanted = self.charge(0 if before is None else now - before) > 0
                before = now
            if wanted != halted:
                self._signal(program, signal.SIGSTOP if wanted else signal.SIGCONT)
                halted = wanted
        if halted:
            self._signal(program, signal.SIGCONT)

    def _signal(self, program: str, number: int) -> None:
        for pid in processes.of_job(self._folder):
            if processes.name(pid) == program:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _keep_following(self) -> None:
        looks = 0
        while not self._stop.wait(POLL_SECONDS):
            looks += 1
            # Processes come and go, the job's and the server's for it; the file changes seldom.
            self.follow(look_for_new=looks % NEW_PROCESSES_EVERY == 0)
        if self._session is not None:
            self._session.close()

    def follow(self, look_for_new: bool) -> None:
        """Read the limits, and make processes as nice as they ask for (those that came since, too: ``look_for_new``)."""
        found = limits.load(self._folder)
        before = self._limits
        with self._lock:
            self._limits = found
        changed = (found.nice, found.io_class) != (before.nice, before.io_class)
        if changed:
            self._treated.clear()
        # Also back to what is usual; new ones have that then.
        if changed or (look_for_new and (found.nice, found.io_class) != (0, "none")):
            for pid in {os.getpid(), *processes.of_job(self._folder), *self._backends()} - self._treated:
                _apply(pid, found)
                self._treated.add(pid)

    def _backends(self) -> list[int]:
        """The server's processes that work for us, where they run on this host: the load is theirs, not the client's."""
        if self._settings is None or self._settings.host not in LOCAL_HOSTS:
            return []
        try:
            if self._session is None:
                self._session = Session(self._settings)
            rows = self._session.rows(
                "SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = %s AND datname = %s",
                [APPLICATION_NAME, self._settings.database],
            )
        except MigrationError:
            # The work itself will say that the server is gone.
            self._session = None
            return []
        return [row["pid"] for row in rows if processes.name(row["pid"]).startswith("postgres")]


def _apply(pid: int, wanted: limits.Limits) -> None:
    # On Linux each thread is treated by itself; those that come later are as the one that starts them.
    threads = processes.threads(pid)
    for thread in threads:
        # Being less nice again is root's alone; a process may be gone.
        with suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, wanted.nice)
    ionice = shutil.which("ionice")
    if ionice and threads:
        with suppress(OSError, subprocess.TimeoutExpired):
            # Also when one of them has ended since.
            programs.ask([ionice, "-t", *_IONICE[wanted.io_class], "-p", *map(str, threads)])
