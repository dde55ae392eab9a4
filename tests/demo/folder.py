# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the demo keeps its things, and that only one runs at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Iterator

from support.places import CACHE, SupportError

# Another one (Molecule's) has servers of its own.
FOLDER = os.environ.get("DEMO_FOLDER", "demo")
PRIVATE = CACHE / FOLDER
LOCK = CACHE / f"{FOLDER}.lock"

# The servers, and the inventory's hosts, by name.
SIDES = ("source", "target")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the demo's lock. Raises ``SupportError`` when another demo holds it."""
    CACHE.mkdir(exist_ok=True)
    with LOCK.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SupportError("A demo is running here: wait for it, or end it with Ctrl-C.") from None
        yield
