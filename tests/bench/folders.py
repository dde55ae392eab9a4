# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much room a folder takes while something works in it."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator

LOOK_SECONDS = 0.2


@contextmanager
def most_bytes(folder: Path) -> Iterator[Callable[[], int]]:
    """Look at a folder all the time; tells the most bytes that its files had."""
    most = 0
    stop = threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.wait(LOOK_SECONDS):
            most = max(most, sum(_size(path) for path in folder.rglob("*")))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most
    finally:
        stop.set()
        thread.join()


def _size(path: Path) -> int:
    # What is renamed or removed at this moment has none.
    with suppress(OSError):
        return path.stat().st_size if path.is_file() else 0
    return 0
