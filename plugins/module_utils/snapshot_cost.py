# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a snapshot costs the server for as long as it is held: VACUUM may not remove rows that it still shows."""

from __future__ import annotations

import threading
import time
from typing import Callable

from .connection import ConnectionSettings, Session
from .errors import MigrationError
from .progress_line import duration

_DEAD_ROWS = "SELECT coalesce(pg_catalog.sum(n_dead_tup), 0)::bigint FROM pg_catalog.pg_stat_all_tables"


class HeldSnapshotCost:
    """Dead rows that came since the snapshot was taken, in this database."""

    def __init__(self, settings: ConnectionSettings, since: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._since = since
        self._clock = clock
        self._session: Session | None = None
        self._before: int | None = None
        self._closed = False
        self._asking = threading.Lock()

    def tell(self) -> str:
        """The cost as a few words, such as ``snapshot held for 12 min 3 s, 15200 dead rows wait for VACUUM``."""
        held = f"snapshot held for {duration(self._clock() - self._since)}"
        try:
            dead = self._dead_rows()
        except MigrationError:
            return held
        if self._before is None:
            self._before = dead
        waiting = max(dead - self._before, 0)
        return f"{held}, {waiting} dead rows wait for VACUUM" if waiting else held

    def close(self) -> None:
        """End the session that asks, for good: a heartbeat may still be on its way here."""
        with self._asking:
            self._closed = True
            self._drop()

    def _dead_rows(self) -> int:
        with self._asking:
            if self._closed:
                raise MigrationError("The snapshot is held no more.", "closed")
            try:
                if self._session is None:
                    self._session = Session(self._settings)
                return int(self._session.value(_DEAD_ROWS))
            except MigrationError:
                self._drop()
                raise

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
