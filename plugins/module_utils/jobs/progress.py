# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a job's progress into its progress file; safe to use from several threads."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable

from ..common.errors import MigrationError
from ..common.progress_document import ProgressDocument, TrackDocument
from ..host.files import write_json

HEARTBEAT_SECONDS = 2.0
# A rate measured over less time than this reflects the start-up more than the work.
SETTLED_SECONDS = 5.0
# Units whose items differ so much in size that a count gives no estimate of the time.
UNEVEN = ("matviews", "tables")

Clock = Callable[[], float]
Probe = Callable[[], "tuple[int, str]"]


class Track:
    """The progress of one activity: total, amount done, rate.

    total: in ``unit`` (``bytes``, ``tables``, ``files``, ``s``, ...); None when it is unknown.
    estimated: whether ``total`` is an estimate.
    probe: called at every heartbeat, returns the amount done and the current item; None when ``advance`` reports them.
    """

    def __init__(
        self, name: str, total: int | None, unit: str, estimated: bool, probe: Probe | None, clock: Clock
    ) -> None:
        self._clock = clock
        self._started = clock()
        self._probe = probe
        self._lock = threading.Lock()
        self._samples = [(self._started, 0)]
        self._state: TrackDocument = {
            "name": name,
            "total": total,
            "unit": unit,
            "estimated": estimated,
            "done": 0,
            "item": "",
            "rate": None,
            "left": None,
        }

    def advance(self, amount: int, item: str = "") -> None:
        """Add ``amount`` to the amount done; ``item`` is the one that is worked on."""
        with self._lock:
            self._state["done"] += amount
            self._state["item"] = item

    def measure(self) -> TrackDocument:
        """The track for the progress file, with its rate (per second) and the seconds left once they are meaningful."""
        self._run_probe()
        now = self._clock()
        with self._lock:
            done, total = self._state["done"], self._state["total"]
            self._samples.append((now, done))
            # Measure the rate over the later half of the track's time: it becomes stable, and still follows changes.
            while len(self._samples) > 2 and self._samples[1][0] <= (self._started + now) / 2:
                del self._samples[0]
            rate = left = None
            since, before = self._samples[0]
            if now - self._started >= SETTLED_SECONDS and done > before and self._state["unit"] not in UNEVEN:
                rate = (done - before) / (now - since)
                left = (total - done) / rate if total and done < total else None
            state = self._state.copy()
        state["rate"], state["left"] = rate, left
        return state

    def _run_probe(self) -> None:
        if self._probe is None:
            return
        # When the server doesn't answer for a moment, keep the last amount.
        with suppress(MigrationError):
            done, item = self._probe()
            with self._lock:
                self._state["done"] = max(done, self._state["done"])
                self._state["item"] = item


class Progress:
    """Writes the progress file at every step and heartbeat. A step has one track, or several in parallel."""

    def __init__(self, path: Path, clock: Clock = time.time, steady: Clock = time.monotonic) -> None:
        self._path = path
        # Wall-clock time for the file's readers; monotonic time for durations.
        self._clock, self._steady = clock, steady
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._step_began = steady()
        self._state: ProgressDocument = {"step": "starting", "number": 0, "started": clock()}
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
        """Announce how many more steps will follow."""
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
        """Begin a step and return its track; the arguments are those of Track."""
        track = Track(name, total, unit, estimated, probe, self._steady)
        with self._lock:
            self._tracks = [track]
            self._step_began = self._steady()
            self._state["step"] = name
            self._state["number"] += 1
        self._write()
        return track

    def parallel_track(
        self, name: str, total: int, unit: str, estimated: bool = False, probe: Probe | None = None
    ) -> Track:
        """Add a track to the current step."""
        track = Track(name, total, unit, estimated, probe, self._steady)
        with self._lock:
            self._tracks = [*self._tracks, track]
        return track

    def advance(self, amount: int, item: str = "") -> None:
        """Add ``amount`` to the amount done of the step's first track."""
        with self._lock:
            track = self._tracks[0]
        track.advance(amount, item)

    def note(self, name: str, text: Callable[[], str] | None) -> None:
        """Show the result of ``text()`` at every heartbeat, under ``name``; None removes the note."""
        with self._lock:
            notes = {key: value for key, value in self._notes.items() if key != name}
            self._notes = notes if text is None else dict(notes, **{name: text})

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            tracks, notes = self._tracks, self._notes
        # Probes and notes may query a server: don't hold the lock, so that the work continues.
        measured = [track.measure() for track in tracks]
        shown = []
        for text in notes.values():
            with suppress(MigrationError):
                shown.append(text())
        with self._lock:
            # When another step began in the meantime, it has written its own state.
            if tracks is self._tracks:
                state = self._state.copy()
                state["tracks"], state["notes"] = measured, [text for text in shown if text]
                state["heartbeat"] = self._clock()
                state["step_seconds"] = self._steady() - self._step_began
                # A full disk must not fail the job here: the work itself reports it when it can't continue.
                with suppress(OSError):
                    write_json(self._path, state, durable=False)
