# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two pieces of work at the same time, where the failure of one ends the other."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, TypeVar

Outcome = TypeVar("Outcome")


def run_together(
    first: Callable[[], object], second: Callable[[], Outcome], stop: threading.Event, one_by_one: bool
) -> Outcome:
    """Run both (one after the other when ``one_by_one``) and return what ``second`` returned.

    The first error, or one that arrives from outside such as a signal, sets ``stop`` and is raised when both ended.
    """

    def guarded(work: Callable[[], Outcome]) -> Outcome:
        try:
            return work()
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max_workers=1 if one_by_one else 2) as pool:
        one = pool.submit(guarded, first)  # type: ignore[arg-type]
        two = pool.submit(guarded, second)
        try:
            while not (one.done() and two.done()):
                time.sleep(0.1)
        except BaseException:
            stop.set()
            raise
    errors = [error for error in (one.exception(), two.exception()) if error is not None]
    if errors:
        # The one that was only told to stop is not the reason.
        raise min(errors, key=lambda error: getattr(error, "code", "") == "stopped")
    return two.result()
