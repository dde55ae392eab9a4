# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the cost of a held snapshot: VACUUM can't remove dead rows that it still sees."""

from __future__ import annotations

import time
from typing import Callable

from ..common.errors import MigrationError
from ..common.progress_line import duration
from ..postgres.connection import ConnectionSettings
from ..postgres.monitor_session import MonitorSession

_DEAD_ROWS = "SELECT coalesce(pg_catalog.sum(n_dead_tup), 0)::bigint FROM pg_catalog.pg_stat_all_tables"


class HeldSnapshotCost(MonitorSession):
    """Counts the dead rows of this database since the snapshot was taken."""

    def __init__(self, settings: ConnectionSettings, since: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(settings)
        self._since = since
        self._clock = clock
        self._before: int | None = None

    def describe(self) -> str:
        """The cost as text, such as ``snapshot held for 12 min 3 s, 15200 dead rows wait for VACUUM``."""
        held = f"snapshot held for {duration(self._clock() - self._since)}"
        try:
            dead = self.query(lambda session: int(session.value(_DEAD_ROWS)))
        except MigrationError:
            return held
        if self._before is None:
            self._before = dead
        waiting = max(dead - self._before, 0)
        return f"{held}, {waiting} dead rows wait for VACUUM" if waiting else held
