# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rate limit: kept over time, without a burst after a pause, lifted at once."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import limits
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.throttle import PACE_SECONDS, POLL_SECONDS, Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def throttle(folder: Path, rate: int) -> tuple[Throttle, Clock]:
    limits.save(folder, limits.Limits(rate_limit=rate))
    clock = Clock()
    made = Throttle(folder, None, clock)
    made.update(find_new=False)
    return made, clock


@pytest.mark.parametrize("piece", [10, 100, 5000])
def test_the_rate_is_kept(tmp_path: Path, piece: int) -> None:
    """Waiting as long as requested results in the allowed rate, for any size of pieces."""
    made, clock = throttle(tmp_path, 100)
    read = 0
    while read < 20_000:
        read += piece
        clock.now += made.charge(piece)
    assert clock.now == pytest.approx(read / 100, abs=1.5)


def test_a_pause_is_not_made_up_for(tmp_path: Path) -> None:
    made, clock = throttle(tmp_path, 100)
    made.charge(100)
    clock.now += 1000
    assert made.charge(300) == pytest.approx(2)


def test_what_was_read_before_there_was_a_limit_is_not_made_up_for(tmp_path: Path) -> None:
    made, _clock = throttle(tmp_path, 0)
    with made.pacing("nobody", lambda: 90_000_000_000):
        time.sleep(2 * POLL_SECONDS)
        limits.save(tmp_path, limits.Limits(rate_limit=10_000_000))
        made.update(find_new=False)
        time.sleep(2 * POLL_SECONDS)
        assert made.charge(0) == 0


def test_no_limit_never_waits(tmp_path: Path) -> None:
    made, _clock = throttle(tmp_path, 0)
    assert made.charge(10**12) == 0


def test_a_lifted_limit_is_forgotten(tmp_path: Path) -> None:
    made, _clock = throttle(tmp_path, 100)
    assert made.charge(10_000) > 90
    limits.save(tmp_path, limits.Limits())
    made.update(find_new=False)
    assert made.charge(0) == 0


def state(process: subprocess.Popen[bytes]) -> str:
    """The state letter of proc(5); T is stopped."""
    return Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def test_a_program_that_starts_after_its_limit_is_exceeded_is_stopped_too(tmp_path: Path) -> None:
    """The digests may use up the allowance while a container starts; later, the program starts workers."""
    made, _clock = throttle(tmp_path, 100)
    made.charge(10_000)
    started = []
    try:
        with made.pacing("sleep", lambda: 0):
            for _program_and_worker in range(2):
                time.sleep(2 * PACE_SECONDS)
                environment = {**os.environ, processes.MARKER: str(tmp_path)}
                started.append(subprocess.Popen(["sleep", "60"], env=environment))
                deadline = time.monotonic() + 10
                while state(started[-1]) != "T":
                    assert time.monotonic() < deadline, "it was not stopped"
                    time.sleep(0.05)
        # What was stopped continues when nothing is limited any more: it sleeps, or is about to.
        assert [state(one) in "RSD" for one in started] == [True, True]
    finally:
        for one in started:
            one.kill()
            one.wait()
