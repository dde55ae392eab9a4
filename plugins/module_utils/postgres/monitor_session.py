# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session beside the work, for whoever looks how far that is."""

from __future__ import annotations

import threading
from typing import Callable, TypeVar

from ..common.errors import MigrationError
from .connection import ConnectionSettings, Session

Found = TypeVar("Found")


class LookSession:
    """It is opened when something is first asked, and opened anew when it was lost; safe to use from several threads."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._session: Session | None = None
        self._closed = False
        self._asking = threading.Lock()

    def ask(self, look: Callable[[Session], Found]) -> Found:
        """What ``look`` finds. Raises MigrationError, ``closed`` after ``close``."""
        with self._asking:
            if self._closed:
                raise MigrationError("What was asked about has ended.", "closed")
            try:
                if self._session is None:
                    self._session = Session(self._settings)
                return look(self._session)
            except BaseException:
                self._drop()
                raise

    def close(self) -> None:
        """End the session, for good: a heartbeat may still be on its way here."""
        with self._asking:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
