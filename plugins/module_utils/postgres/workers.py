# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run tasks in parallel workers, each with its own session."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Callable, Generic, Iterable, TypeVar

from ..common.errors import MigrationError
from .session import Session

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Growing:
    """How many workers: ``at_once`` from the start, and ``count`` once ``more`` is set, when other work has ended."""

    count: int
    at_once: int
    more: threading.Event


def run_in_sessions(
    tasks: Iterable[Task],
    workers: int | Growing,
    open_session: Callable[[], Session],
    work: Callable[[Session, Task], Outcome],
    stop: threading.Event | None = None,
) -> list[Outcome]:
    """Run ``work`` for every task, at most ``workers`` at a time; returns the results in the order of the tasks.

    The first error cancels the statements of the other workers and is raised. Setting ``stop`` does the same and raises
    MigrationError ``stopped``.
    """
    pool = _Pool(list(tasks), open_session, work, stop or threading.Event())
    return pool.run(workers if isinstance(workers, Growing) else Growing(workers, workers, threading.Event()))


class _Pool(Generic[Task, Outcome]):
    def __init__(
        self,
        tasks: list[Task],
        open_session: Callable[[], Session],
        work: Callable[[Session, Task], Outcome],
        stop: threading.Event,
    ) -> None:
        self._queue = list(enumerate(tasks))[::-1]
        self._outcomes: dict[int, Outcome] = {}
        self._sessions: list[Session] = []
        self._open_session = open_session
        self._work = work
        self._stop = stop
        self._lock = threading.Lock()

    def run(self, workers: Growing) -> list[Outcome]:
        count = max(1, min(workers.count, len(self._queue)))
        with ThreadPoolExecutor(max_workers=count) as pool:
            futures = [
                pool.submit(self._worker, None if number < max(1, workers.at_once) else workers.more)
                for number in range(count)
            ]
            try:
                self._watch(futures)
            except BaseException:
                # A signal was received. The pool waits for its threads, so they must stop.
                self._stop.set()
                self._cancel()
                raise
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        if errors:
            # Prefer an error that isn't the cancellation that another error caused.
            raise min(errors, key=_is_cancelled)
        if self._stop.is_set():
            raise MigrationError("The work was stopped.", "stopped")
        return [self._outcomes[index] for index in sorted(self._outcomes)]

    def _watch(self, futures: list[Future[None]]) -> None:
        while wait(futures, POLL_SECONDS).not_done:
            if self._stop.is_set():
                self._cancel()

    def _worker(self, start: threading.Event | None) -> None:
        while start is not None and not start.wait(POLL_SECONDS):
            if not self._queue or self._stop.is_set():
                return
        try:
            with self._open_session() as session:
                with self._lock:
                    self._sessions.append(session)
                self._run_tasks(session)
        except BaseException:
            self._stop.set()
            raise

    def _run_tasks(self, session: Session) -> None:
        while not self._stop.is_set():
            with self._lock:
                if not self._queue:
                    return
                index, task = self._queue.pop()
            self._outcomes[index] = self._work(session, task)

    def _cancel(self) -> None:
        with self._lock:
            for session in self._sessions:
                session.cancel()


def _is_cancelled(error: BaseException) -> bool:
    return isinstance(error, MigrationError) and error.details.get("sqlstate") == "57014"
