# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session that waits for a lock only so long, and then says who holds it."""

from __future__ import annotations

from typing import Any

from ..common.errors import MigrationError
from . import lock_waits
from .connection import ConnectionSettings, Session

LOCK_SECONDS = 60
# Nobody sees what a check waits for before it ends.
PREFLIGHT_LOCK_SECONDS = 15
_LOCK_NOT_AVAILABLE = "55P03"


class BoundedSession(Session):
    """A Session whose statements raise MigrationError ``locked`` when they have waited ``seconds`` for a lock."""

    def __init__(self, settings: ConnectionSettings, seconds: int = LOCK_SECONDS) -> None:
        super().__init__(settings)
        self._seconds = seconds
        self.execute(f"SET lock_timeout = '{int(seconds)}s'")

    def _failed(self, error: Any) -> MigrationError:
        failure = super()._failed(error)
        if failure.details.get("sqlstate") != _LOCK_NOT_AVAILABLE:
            return failure
        who = lock_waits.sentence(self.settings) or "It is free by now: run again."
        return MigrationError(
            f"A lock in {self.settings.database!r} at {self.settings.place} could not be had within {self._seconds} s: {who}",
            "locked",
            **failure.details,
        )
