# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job's work gets: its parameters, its secrets, its folder, and a place to say how far it is."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from .connection import ConnectionSettings
from .files import FILE_MODE, write_json

HEARTBEAT_SECONDS = 2.0


class Progress:
    """How far the job is, written for whoever watches; safe to call from several threads.

    Every step names a unit (``bytes``, ``rows``, ``files`` ...) and, where one is known, a total.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._state: dict[str, Any] = {"step": "starting", "started": clock(), "step_started": clock()}
        self._probe: Callable[[], int] | None = None
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Progress:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._write()

    def step(
        self,
        name: str,
        total: int | None = None,
        unit: str = "",
        estimated: bool = False,
        probe: Callable[[], int] | None = None,
    ) -> None:
        """Begin a step. ``probe`` is asked for the amount done at every heartbeat; ``estimated`` labels the total."""
        now = self._clock()
        with self._lock:
            self._probe = probe
            self._state.update(
                step=name, step_started=now, total=total, unit=unit, done=0, item="", estimated=estimated
            )
        self._write()

    def advance(self, amount: int, item: str = "") -> None:
        """``amount`` more is done, most recently on ``item``."""
        with self._lock:
            self._state["done"] = self._state.get("done", 0) + amount
            self._state["item"] = item

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            if self._probe is not None:
                self._state["done"] = self._probe()
            self._state["heartbeat"] = self._clock()
            write_json(self._path, self._state)


@dataclass
class JobContext:
    """Handed to the entry function of a job."""

    folder: Path
    parameters: dict[str, Any]
    progress: Progress
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def work(self) -> Path:
        """A private folder that is emptied before the job starts and when it ends."""
        return self.folder / "work"

    def log(self, line: str) -> None:
        """Add a line to the job's log."""
        sys.stderr.write(line + "\n")

    def connection(self) -> ConnectionSettings:
        """The database that the parameters name, with its password."""
        return ConnectionSettings.restored(self.parameters["connection"], self.secrets.get("login_password"))

    def passfile(self) -> Path:
        """A passfile (0600) for PostgreSQL's programs, which lives as long as the job."""
        path = self.work / "passfile"
        path.touch(mode=FILE_MODE)
        path.write_text(self.connection().passfile_line(), encoding="utf-8")
        return path
