# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a refresh and its time left: by a rehearsal, else by the sizes on the source."""

from __future__ import annotations

from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.matview_graph import Matview
from ansible_collections.cht.couch2pg.plugins.module_utils.refresh.forecast import Forecast


def matview(name: str, *reads: str) -> Matview:
    return Matview(1, "public", name, "couch2pg", False, 0, False, "", tuple(f"public.{read}" for read in reads))


VIEWS = [matview("small"), matview("large"), matview("reader", "small")]
SIZES = {"public.small": 10, "public.large": 500, "public.reader": None}


def names(views: list[Matview]) -> list[str]:
    return [view.name for view in views]


def test_a_rehearsal_tells_the_seconds() -> None:
    forecast = Forecast.of(VIEWS, {"public.small": 2.0, "public.large": 30.0}, SIZES)
    # The view that is new since then counts as the average.
    assert (forecast.unit, forecast.total) == ("s", 48)
    assert names(forecast.largest_first(VIEWS)) == ["large", "small", "reader"]
    assert forecast.done(["public.small"], {"public.large": 12.0}) == 14
    # It takes longer than expected: the rest is unknown.
    assert forecast.done(["public.small"], {"public.large": 95.0}) == 32


def test_what_a_small_view_is_read_by_makes_it_the_first() -> None:
    seconds = {"public.small": 1.0, "public.large": 20.0, "public.reader": 25.0}
    assert names(Forecast.of(VIEWS, seconds, SIZES).largest_first(VIEWS)) == ["small", "reader", "large"]


def test_without_a_rehearsal_the_sizes_count() -> None:
    forecast = Forecast.of(VIEWS, {}, SIZES)
    assert (forecast.unit, forecast.total, forecast.estimated) == ("bytes", 510, True)
    assert forecast.done(["public.small"], {"public.large": 12.0}) == 10
    # Rehearsed in no time: nothing to go by.
    assert Forecast.of(VIEWS, {"public.small": 0.0}, SIZES).unit == "bytes"


def test_of_an_unknown_database_the_views_are_counted() -> None:
    forecast = Forecast.of(VIEWS, {}, {})
    assert (forecast.unit, forecast.total, forecast.estimated) == ("matviews", 3, False)
    assert forecast.done(["public.small"], {}) == 1
    assert Forecast.of([], {}, {}).total == 0
