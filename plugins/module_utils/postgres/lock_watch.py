# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call a function at intervals while a statement runs."""

from __future__ import annotations

import threading
from typing import Any, Callable

from ..common.errors import MigrationError


class LockWatch:
    """Calls ``look`` at least once during a wait of ``seconds``. ``found``: its last result, or why it failed."""

    def __init__(self, seconds: float, look: Callable[[], str]) -> None:
        self.found = ""
        self._every, self._look = seconds * 0.4, look
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> LockWatch:
        self._thread.start()
        return self

    def __exit__(self, *_exc: Any) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self.found = self._look()
            except MigrationError as error:
                self.found = f"who holds it could not be found out: {error.message}"
