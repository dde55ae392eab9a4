# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program of PostgreSQL with the same limit for lock waits as the sessions of this collection."""

from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path
from typing import Callable, Mapping, Sequence

from ..common.errors import MigrationError
from ..host import programs
from .connection import APPLICATION_NAME, ConnectionSettings
from .lock_watch import LockWatch
from .session import Session, look_beside


def run(
    settings: ConnectionSettings,
    command: Sequence[str],
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    stop: threading.Event | None = None,
    output: Path | None = None,
) -> int:
    """Run ``command``, which connects to the database of ``settings``, as ``programs.run`` does; returns its exit code.

    Raises MigrationError ``locked``, which names who holds the lock, when the program has waited for a lock for
    ``Session.default_lock_seconds`` (0: no limit), or failed because of a lock timeout.
    """
    seconds = Session.default_lock_seconds
    if not seconds:
        return programs.run(command, environment, on_line, stop, output)
    # pg_dump's own limit applies to tables, but not to what it reads later. The unique application name identifies the program's sessions.
    name = f"{APPLICATION_NAME} {secrets.token_hex(4)}"
    own = threading.Event() if stop is None else stop
    waiting_since: list[float] = []
    too_long, refused = threading.Event(), threading.Event()
    holder: list[str] = []

    def listen(line: str) -> None:
        if "due to lock timeout" in line:
            refused.set()
        on_line(line)

    def look() -> str:
        who = look_beside(settings, lambda wait: wait.program == name)
        if not who:
            waiting_since.clear()
            return ""
        holder[:] = [who]
        waiting_since.append(time.monotonic())
        if waiting_since[-1] - waiting_since[0] >= seconds * 0.4:
            too_long.set()
            own.set()
        return who

    with LockWatch(seconds, look):
        code = programs.run(command, {**environment, "PGAPPNAME": name}, listen, own, output)
    # The program may have failed, or been stopped, for another reason after a short wait.
    if code and holder and (too_long.is_set() or refused.is_set()):
        raise MigrationError(
            f"A lock in the database {settings.database!r} at {settings.place} was not granted within {seconds} s: {holder[0]}",
            "locked",
        )
    return code
