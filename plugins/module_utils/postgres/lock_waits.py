# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For the progress of a job: what its sessions and programs wait for on a server, and who waits for them."""

from __future__ import annotations

import time

from ..common.errors import MigrationError
from ..common.progress_line import duration
from . import locks
from .connection import APPLICATION_NAME, ConnectionSettings
from .monitor_session import MonitorSession
from .session import Session

SHOWN_AFTER_SECONDS = 3.0


class LockWaits(MonitorSession):
    """Watches lock waits over repeated calls of ``tell``. A wait is timed from the first call that sees it.

    Its session is in the maintenance database, because it would prevent a rename or drop of the job's own database. It uses the job's own
    database only when it can't log in to the maintenance database.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings.maintenance)
        self._own = settings
        self._since: dict[tuple[object, ...], float] = {}

    def tell(self) -> str:
        """What waits for what, in a few words; empty when nothing has waited for ``SHOWN_AFTER_SECONDS``."""
        try:
            return self.query(self._told)
        except MigrationError as error:
            if error.code in ("authentication", "database_missing"):
                self._settings = self._own
            raise

    def _told(self, session: Session) -> str:
        found, now = locks.waits(session), time.monotonic()
        ours = [wait for wait in found if wait.program == APPLICATION_NAME]
        keys = [(wait.pid, wait.kind, wait.mode, wait.oid) for wait in ours]
        self._since = {key: self._since.get(key, now) for key in keys}
        said = []
        for key, wait in zip(keys, ours):
            seconds = now - self._since[key]
            if seconds >= SHOWN_AFTER_SECONDS:
                how = "read" if wait.mode == "AccessShareLock" else "lock"
                said.append(f"waiting {duration(seconds)} to {how} {locks.thing(session, wait)}")
                said += [holder.words for holder in locks.blockers(session, wait, found)]
        said += [holder.words for holder in locks.waiting_for(session, APPLICATION_NAME, found)]
        return "; ".join(list(dict.fromkeys(said))[: 2 * locks.SHOWN])
