# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job is: measured, estimated, and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.progress_line import describe
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.progress import Progress, Track


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def track(clock: Clock, total: int | None = 1000) -> Track:
    return Track("data", total, "bytes", False, None, clock)


def test_time_left_settles_first() -> None:
    clock = Clock()
    work = track(clock)
    clock.now += 1
    work.advance(100)
    assert work.measure()["left"] is None
    clock.now += 8
    work.advance(400)
    assert work.measure()["left"] == 10


def test_the_rate_follows_the_later_half() -> None:
    """Work that has become slower is not done as early as its beginning promised."""
    clock = Clock()
    work = track(clock, 100_000)
    for _second in range(60):
        clock.now += 1
        work.advance(100)
        work.measure()
    for _second in range(120):
        clock.now += 1
        work.advance(10)
        measured = work.measure()
    assert round(measured["rate"]) == 10
    assert round(measured["left"]) == round((100_000 - 7200) / 10)


def test_it_never_goes_back() -> None:
    """A server that was restarted counts from 0 again."""
    answers = iter([(700, "a"), (0, "")])
    work = Track("data", 1000, "bytes", False, lambda: next(answers), Clock())
    assert work.measure()["done"] == 700
    assert work.measure()["done"] == 700


def test_a_server_that_does_not_answer_changes_nothing() -> None:
    def probe() -> tuple[int, str]:
        raise MigrationError("The connection was lost.", "connection_lost")

    work = Track("data", 1000, "bytes", False, probe, Clock())
    work.advance(10)
    assert work.measure()["done"] == 10


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_the_file_has_steps_tracks_and_notes(tmp_path: Path) -> None:
    clock = Clock()
    progress = Progress(tmp_path / "progress.json", clock, clock)
    progress.plan(2)
    progress.step("dump", 2000, "bytes")
    progress.parallel_track("digests", 4000, "bytes").advance(1000, "public.couchdb")
    progress.note("snapshot", lambda: "snapshot held for 3 s")
    clock.now += 10
    progress.advance(500, "public.couchdb")
    with progress:
        written = read(tmp_path / "progress.json")
    assert [entry["name"] for entry in written["tracks"]] == ["dump", "digests"]
    assert describe(written) == (
        "[1/2] dump | public.couchdb | 500 B of 2.0 kB (25 %) | 50 B/s | 30 s left | digests 25 % | snapshot held for 3 s"
    )
    ended = read(tmp_path / "progress.json")
    assert (ended["tracks"], ended["notes"]) == ([], [])


def shown(**track: Any) -> dict[str, Any]:
    known = {"name": "data", "item": "", "total": 4_000_000_000, "done": 1_000_000_000, "unit": "bytes"}
    return {
        "step": "data",
        "step_seconds": 100,
        "heartbeat": 100,
        "tracks": [{**known, "estimated": False, "rate": None, "left": None, **track}],
    }


def test_an_estimate_is_called_so() -> None:
    assert describe(shown(estimated=True, rate=10_000_000.0, left=300.0)) == (
        "data | 1.0 GB of about 4.0 GB (25 %) | 10.0 MB/s | about 5 min 0 s left"
    )


def test_it_does_not_say_100_before_the_end() -> None:
    assert "(99 %)" in describe(shown(done=3_999_999_999))
    assert "(finishing)" in describe(shown(done=4_100_000_000))


def test_the_track_that_takes_longest_comes_first() -> None:
    progress = shown(rate=1.0, left=10.0)
    progress["tracks"].append({**progress["tracks"][0], "name": "digests", "left": 99.0})
    assert describe(progress).startswith("data | digests | 1.0 GB of 4.0 GB (25 %)")


def test_a_track_that_is_done_comes_last() -> None:
    """Digests are often done long before the dump that they run beside."""
    progress = shown(rate=1.0, left=9.0)
    progress["tracks"].insert(0, {**progress["tracks"][0], "name": "digests", "done": 4_000_000_000, "left": None})
    assert describe(progress) == "data | 1.0 GB of 4.0 GB (25 %) | 1 B/s | 9 s left | digests done"


def test_things_that_are_not_alike_tell_no_time() -> None:
    """One of twenty materialized views may take longer than all others."""
    clock = Clock()
    views = Track("materialized views", 20, "matviews", False, None, clock)
    clock.now += 60
    views.advance(10)
    assert (views.measure()["rate"], views.measure()["left"]) == (None, None)


def test_what_takes_about_so_long_as_before() -> None:
    assert describe(shown(unit="s", done=60, total=90, estimated=True, rate=1.0, left=30.0)) == (
        "data | 1 min 0 s of about 1 min 30 s (66 %) | about 30 s left"
    )


def test_a_clock_that_is_set_back_changes_no_rate(tmp_path: Path) -> None:
    clock, steady = Clock(), Clock()
    progress = Progress(tmp_path / "progress.json", clock, steady)
    progress.step("dump", 2000, "bytes")
    clock.now, steady.now = 5, steady.now + 10
    progress.advance(500)
    with progress:
        written = read(tmp_path / "progress.json")
    assert (written["heartbeat"], written["step_seconds"]) == (5, 10)
    assert (written["tracks"][0]["rate"], written["tracks"][0]["left"]) == (50, 30)


def test_without_a_total_the_time_so_far_is_told() -> None:
    assert describe({"step": "schema", "step_seconds": 4000, "heartbeat": 4000}) == "schema | 1 h 6 min so far"


def test_a_heartbeat_that_has_stopped_is_told() -> None:
    progress = {"step": "schema", "step_seconds": 4000, "heartbeat": 4000}
    assert describe(progress, 4060) == "schema | 1 h 6 min so far"
    assert describe(progress, 4300).endswith("no heartbeat for 5 min 0 s")
    # A clock that was set back is no reason to worry.
    assert describe(progress, 100) == "schema | 1 h 6 min so far"
