# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows in a job's progress what its sessions wait for on the source, and which sessions wait for them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

from ..jobs.progress import Progress
from ..postgres.connection import ConnectionSettings
from ..postgres.lock_waits import LockWaits


@contextmanager
def shown(progress: Progress, settings: ConnectionSettings) -> Iterator[None]:
    """Show the waits while the block runs."""
    waits = LockWaits(settings)
    progress.note("locks", waits.tell)
    try:
        yield
    finally:
        progress.note("locks", None)
        waits.close()
