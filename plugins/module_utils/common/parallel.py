# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run two functions in parallel; the failure of one stops the other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Callable, TypeVar

Outcome = TypeVar("Outcome")


def run_together(
    first: Callable[[], object], second: Callable[[], Outcome], stop: threading.Event, one_by_one: bool
) -> Outcome:
    """Run both (one after the other when ``one_by_one``) and return the result of ``second``.

    An error in either, or an exception in the calling thread such as a signal, sets ``stop``; it is raised once both ended.
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
            # Wait with a time limit: only this thread runs signal handlers, also when the system gives the signal to another thread.
            while wait((one, two), timeout=0.1).not_done:
                pass
        except BaseException:
            stop.set()
            raise
    errors = [error for error in (one.exception(), two.exception()) if error is not None]
    if errors:
        # Code "stopped" means that the other function's error set the event: raise that other error.
        raise min(errors, key=lambda error: getattr(error, "code", "") == "stopped")
    return two.result()
