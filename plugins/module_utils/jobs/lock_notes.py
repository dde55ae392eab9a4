# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows in a job's progress what its sessions and programs wait for on a server, and which sessions wait for them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

from ..postgres.connection import ConnectionSettings
from ..postgres.lock_waits import LockWaits
from .progress import Progress


@contextmanager
def shown(progress: Progress, settings: ConnectionSettings | None) -> Iterator[None]:
    """Show the waits while the block runs; nothing without ``settings``."""
    if settings is None:
        yield
        return
    waits, name = LockWaits(settings), f"locks at {settings.place}"
    progress.note(name, waits.tell)
    try:
        yield
    finally:
        progress.note(name, None)
        waits.close()
