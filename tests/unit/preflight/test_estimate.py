# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The estimate of each method: what makes it longer, and what preflight says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.estimate import (
    Estimate,
    Pace,
    of_methods,
    sentence,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.sizes import Sizes

GB = 10**9
PACE = Pace(reading=100_000_000, loading=50_000_000, jobs=2)


def sizes(factor: float = 1.0) -> Sizes:
    """A database of about 200 GB, or a multiple of it."""
    archive = {"text_bytes": int(200 * factor * GB), "compressed_bytes": int(40 * factor * GB)}
    return {"archive": archive, "server": int(220 * factor * GB), "table_count": int(100 * factor)}


def found(size: Sizes, pace: Pace = PACE, matviews: int = 4, one_machine: bool = False) -> dict[str, Estimate]:
    return {each.method: each for each in of_methods(size, matviews, pace, one_machine)}


def test_stream_is_faster_than_archive_and_physical_faster_than_both() -> None:
    usual = found(sizes())
    assert usual["physical"].longest < usual["stream"].longest < usual["archive"].longest
    assert all(each.shortest < each.longest for each in usual.values())


def test_on_a_slow_line_the_archive_is_smaller_than_the_rows() -> None:
    usual = found(sizes())
    # 40 GB, 200 GB and 220 GB over 11 MB in a second.
    assert usual["archive"].slow_line < usual["stream"].slow_line < usual["physical"].slow_line
    assert usual["stream"].slow_line >= 200 * GB / 11e6
    assert found(sizes(), one_machine=True)["archive"].slow_line == 0


@pytest.mark.parametrize(
    "change", [{"reading": 50_000_000}, {"loading": 25_000_000}, {"jobs": 1}], ids=["reading", "loading", "jobs"]
)
def test_what_was_measured_counts(change: dict[str, int]) -> None:
    slower = found(sizes(), replace(PACE, **change))
    for method in ("archive", "stream"):
        assert slower[method].longest > found(sizes())[method].longest


def test_it_grows_with_the_rows_and_the_materialized_views() -> None:
    ten = found(sizes(10.0))
    for method, usual in found(sizes()).items():
        assert ten[method].longest == pytest.approx(10 * usual.longest, rel=0.01)
    assert found(sizes(), matviews=40)["stream"].longest > 2 * found(sizes())["stream"].longest


def test_each_table_takes_time_whatever_its_size() -> None:
    small: Sizes = {"archive": {"text_bytes": 10**6, "compressed_bytes": 10**5}, "server": 10**7, "table_count": 20_000}
    many, few = found(small), found({**small, "table_count": 20})
    assert few["archive"].longest < 30
    for method in ("archive", "stream"):
        assert many[method].shortest - few[method].shortest > 60
    assert few["physical"].longest < many["physical"].longest < many["archive"].longest


def test_a_line_that_was_measured_takes_the_place_of_the_usual_ones() -> None:
    # 40 GB of archive, the same from a stream that ssh compresses, and 220 GB over 2 MB in a second.
    slow = found(sizes(), replace(PACE, line=2_000_000))
    assert all(each.slow_line == 0 for each in slow.values())
    assert 0.7 * 20_000 < slow["stream"].shortest < slow["archive"].shortest < slow["physical"].shortest
    assert found(sizes(), replace(PACE, line=10**10)) == found(sizes(), replace(PACE, line=300_000_000))
    assert found(sizes(), replace(PACE, line=2_000_000), one_machine=True) == found(sizes(), one_machine=True)


@pytest.mark.parametrize(
    ("pace", "said"),
    [
        (replace(PACE, line=2_500_000), "; the network link carries 2.5 MB in a second)"),
        (replace(PACE, no_line="nobody answers"), "; 1 Gbit/s is assumed for the network link: nobody answers)"),
        (PACE, "text per second and process)"),
    ],
    ids=["measured", "unknown", "one machine"],
)
def test_the_line_is_said(pace: Pace, said: str) -> None:
    assert said in sentence(of_methods(sizes(), 4, pace, False), "stream", pace)


@pytest.mark.parametrize("chosen", ["archive", "stream", "physical"])
def test_the_chosen_method_comes_first(chosen: str) -> None:
    said = sentence(of_methods(sizes(), 4, PACE, False), chosen, PACE)
    assert said.startswith(f"{chosen} ")
    assert "the source reads 100.0 MB of rows as text per second and process" in said


@pytest.mark.parametrize(("seconds", "recommended"), [(100, True), (290, False)])
def test_physical_is_recommended_where_it_is_much_faster(seconds: int, recommended: bool) -> None:
    estimates = [
        Estimate("archive", 200, 400, 0),
        Estimate("stream", 150, 300, 0),
        Estimate("physical", 50, seconds, 0),
    ]
    assert ("couch2pg_method: physical checks whether" in sentence(estimates, "stream", PACE)) == recommended
    assert "couch2pg_method" not in sentence(estimates, "physical", PACE)


def test_without_a_sample_it_says_so() -> None:
    unknown = Pace(0, 0, 2)
    estimates: list[Any] = of_methods(sizes(), 4, unknown, False)
    assert "(no sample was large enough to measure the servers)" in sentence(estimates, "stream", unknown)
