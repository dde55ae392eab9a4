# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much work each materialized view is, for the order of a refresh and its time left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping

from ..postgres.matview_graph import Matview


@dataclass(frozen=True)
class Forecast:
    """``weights`` of the views by ``schema.name``, in ``unit``: ``s``, ``bytes``, or ``matviews`` (each counts 1) if both are unknown."""

    unit: str
    weights: Mapping[str, float]

    @classmethod
    def of(cls, matviews: list[Matview], seconds: Mapping[str, float], sizes: Mapping[str, int | None]) -> Forecast:
        """The forecast by the seconds that a rehearsal took, if they are known, else by the bytes on the source."""
        keys = [matview.key for matview in matviews]
        known = [seconds[key] for key in keys if key in seconds]
        if sum(known) >= 1:
            # A view that is newer than the rehearsal gets the average time.
            return cls("s", {key: seconds.get(key, sum(known) / len(known)) for key in keys})
        if any(sizes.get(key) for key in keys):
            return cls("bytes", {key: float(sizes.get(key) or 0) for key in keys})
        return cls("matviews", dict.fromkeys(keys, 1.0))

    @property
    def estimated(self) -> bool:
        """Whether ``total`` is an estimate, and not the number of the views."""
        return self.unit != "matviews"

    @property
    def total(self) -> int:
        """The weights of all views."""
        return round(sum(self.weights.values()))

    def done(self, finished: Iterable[str], running: Mapping[str, float]) -> int:
        """The weights of the finished views. A running view counts with its seconds so far (``running``), at most with its weight."""
        whole = sum(self.weights[key] for key in finished)
        if self.unit == "s":
            whole += sum(min(since, self.weights[key]) for key, since in running.items())
        return int(whole)

    def largest_first(self, matviews: list[Matview]) -> list[Matview]:
        """The views in order, the one that the most work waits for first, so that no large view runs alone at the end.

        A view counts with its own weight and that of the largest chain of views that read it.
        """
        chains: dict[str, float] = {}
        # ``depends_on`` includes indirect dependencies. So a view has more of them than each view that it reads, and comes before it
        # here: the chains of all its readers are known.
        for matview in sorted(matviews, key=lambda matview: -len(matview.depends_on)):
            readers = [chains[other.key] for other in matviews if matview.key in other.depends_on]
            chains[matview.key] = self.weights[matview.key] + max(readers, default=0)
        return sorted(matviews, key=lambda matview: -chains[matview.key])
