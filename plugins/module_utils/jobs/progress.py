# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job is, written into a file for whoever watches; safe to use from several threads."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

from ..common.errors import MigrationError
from ..host.files import write_json

HEARTBEAT_SECONDS = 2.0
# Before that, a rate says more about the start than about the work.
SETTLED_SECONDS = 5.0
# One of these may take longer than all others together: how many are done tells no time.
UNEVEN = ("matviews", "tables")

Clock = Callable[[], float]
Probe = Callable[[], "tuple[int, str]"]


class Track:
    """One line of work: how much there is, how much of it is done, how fast it goes.

    unit: ``bytes``, ``tables``, ``files``, ``s`` for what takes its time ...
    total: None where nobody knows it; ``estimated`` labels one that isn't exact.
    probe: asked at every heartbeat for the amount done and what is worked on, where that is known elsewhere.
    """

    def __init__(
        self, name: str, total: int | None, unit: str, estimated: bool, probe: Probe | None, clock: Clock
    ) -> None:
        self._clock = clock
        self._started = clock()
        self._probe = probe
        self._lock = threading.Lock()
        self._samples = [(self._started, 0)]
        self._state: dict[str, Any] = {
            "name": name,
            "total": total,
            "unit": unit,
            "estimated": estimated,
            "done": 0,
            "item": "",
        }

    def advance(self, amount: int, item: str = "") -> None:
        """``amount`` more is done, most recently on ``item``."""
        with self._lock:
            self._state["done"] += amount
            self._state["item"] = item

    def measure(self) -> dict[str, Any]:
        """The track as the progress file has it: with its rate (a second) and the seconds left, where they have settled."""
        self._ask()
        now = self._clock()
        with self._lock:
            done, total = self._state["done"], self._state["total"]
            self._samples.append((now, done))
            # The later half of its life: a rate that settles, and still follows when the work changes.
            while len(self._samples) > 2 and self._samples[1][0] <= (self._started + now) / 2:
                del self._samples[0]
            rate = left = None
            since, before = self._samples[0]
            if now - self._started >= SETTLED_SECONDS and done > before and self._state["unit"] not in UNEVEN:
                rate = (done - before) / (now - since)
                left = (total - done) / rate if total and done < total else None
            return dict(self._state, rate=rate, left=left)

    def _ask(self) -> None:
        if self._probe is None:
            return
        # A server that doesn't answer for a moment is no reason to stop, nor to go back to 0.
        with suppress(MigrationError):
            done, item = self._probe()
            with self._lock:
                self._state["done"] = max(done, self._state["done"])
                self._state["item"] = item


class Progress:
    """Writes the progress file: at every step and at every heartbeat. A step has one track, or a second one beside it."""

    def __init__(self, path: Path, clock: Clock = time.time, steady: Clock = time.monotonic) -> None:
        self._path = path
        # The one that others can compare with their own, and the one that nobody sets.
        self._clock, self._steady = clock, steady
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._step_began = steady()
        self._state: dict[str, Any] = {"step": "starting", "number": 0, "started": clock()}
        self._tracks: list[Track] = []
        self._notes: dict[str, Callable[[], str]] = {}
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Progress:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._tracks = []
        self._notes = {}
        self._write()

    def plan(self, steps: int) -> None:
        """So many more steps will follow."""
        with self._lock:
            self._state["steps"] = self._state["number"] + steps

    def step(
        self,
        name: str,
        total: int | None = None,
        unit: str = "",
        estimated: bool = False,
        probe: Probe | None = None,
    ) -> Track:
        """Begin a step; returns its track."""
        track = Track(name, total, unit, estimated, probe, self._steady)
        with self._lock:
            self._tracks = [track]
            self._step_began = self._steady()
            self._state.update(step=name, number=self._state["number"] + 1)
        self._write()
        return track

    def beside(self, name: str, total: int, unit: str, estimated: bool = False, probe: Probe | None = None) -> Track:
        """A second track of the step that goes on."""
        track = Track(name, total, unit, estimated, probe, self._steady)
        with self._lock:
            self._tracks = [*self._tracks, track]
        return track

    def advance(self, amount: int, item: str = "") -> None:
        """``amount`` more is done of the step."""
        with self._lock:
            track = self._tracks[0]
        track.advance(amount, item)

    def note(self, name: str, tell: Callable[[], str] | None) -> None:
        """Show what ``tell`` says at every heartbeat; None ends that."""
        with self._lock:
            notes = {key: value for key, value in self._notes.items() if key != name}
            self._notes = notes if tell is None else dict(notes, **{name: tell})

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            tracks, notes = self._tracks, self._notes
        # What asks a server is asked without the lock: the work goes on meanwhile.
        measured = [track.measure() for track in tracks]
        told = []
        for tell in notes.values():
            with suppress(MigrationError):
                told.append(tell())
        with self._lock:
            # A step that began meanwhile has written itself.
            if tracks is self._tracks:
                seconds = self._steady() - self._step_began
                state = dict(self._state, tracks=measured, notes=told, heartbeat=self._clock(), step_seconds=seconds)
                # It is for the eye: on a full disk the work itself says so, or goes on.
                with suppress(OSError):
                    write_json(self._path, state)
