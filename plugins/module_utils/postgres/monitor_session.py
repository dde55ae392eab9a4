# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A separate session that observes the progress of work on the same server."""

from __future__ import annotations

import threading
from typing import Callable, TypeVar

from ..common.errors import MigrationError
from .connection import ConnectionSettings
from .session import Session

Result = TypeVar("Result")


class MonitorSession:
    """Connects at the first query and reconnects after an error; safe to use from several threads."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._session: Session | None = None
        self._closed = False
        self._lock = threading.Lock()

    def query(self, function: Callable[[Session], Result]) -> Result:
        """Return ``function(session)``. Raises MigrationError; with the code ``closed`` after ``close``."""
        with self._lock:
            if self._closed:
                raise MigrationError("The monitored work has ended.", "closed")
            try:
                if self._session is None:
                    self._session = Session(self._settings)
                return function(self._session)
            except BaseException:
                self._drop()
                raise

    def close(self) -> None:
        """Close the session and refuse later queries, because a heartbeat may still call ``query``."""
        with self._lock:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
