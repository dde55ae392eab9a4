# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several workers that copy all chunks of a snapshot from the source to the target."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Callable

from ..common.errors import MigrationError
from ..postgres.connection import ConnectionSettings
from . import worker
from .chunks import Chunk

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Ends:
    """Both ends of the pipelines, and the snapshot of the source."""

    source: ConnectionSettings
    target: ConnectionSettings
    snapshot: str

    def setup(self) -> worker.Setup:
        """The first line of a worker's standard input."""
        return {
            "source": self.source.public(),
            "source_password": self.source.password,
            "target": self.target.public(),
            "target_password": self.target.password,
            "snapshot": self.snapshot,
        }


def copy_all(
    ends: Ends, chunks: list[Chunk], workers: int, on_chunk: Callable[[Chunk, int], None], stop: threading.Event
) -> None:
    """Copy every chunk, ``workers`` at a time. ``on_chunk`` is called with each complete chunk and its number of rows.

    Raises the first error of a worker as MigrationError, and MigrationError ``stopped`` when ``stop`` was set from outside.
    """
    waiting: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
    for chunk in chunks:
        waiting.put(chunk)
    crew = [_Worker(ends, waiting, on_chunk, stop) for _number in range(max(1, min(workers, len(chunks))))]
    try:
        for member in crew:
            member.thread.start()
        _wait_for(crew, stop)
    except BaseException:
        stop.set()
        raise
    finally:
        for member in crew:
            member.end()
    for member in crew:
        if member.failure is not None:
            raise member.failure
    if stop.is_set():
        raise MigrationError("The copy of the rows was stopped.", "stopped")


def _wait_for(crew: list[_Worker], stop: threading.Event) -> None:
    for member in crew:
        # With a time limit, so that this thread notices a signal, or that the work was stopped.
        while member.thread.is_alive() and not stop.is_set():
            member.thread.join(POLL_SECONDS)


class _Worker:
    """One worker process, and the thread that gives it chunks."""

    def __init__(
        self,
        ends: Ends,
        waiting: queue.SimpleQueue[Chunk],
        on_chunk: Callable[[Chunk, int], None],
        stop: threading.Event,
    ) -> None:
        self._ends = ends
        self._waiting = waiting
        self._on_chunk = on_chunk
        self._stop = stop
        self._ended = False
        self.failure: MigrationError | None = None
        # The core runs without Ansible, so run_command is not available. It also could not keep a worker running for several answers.
        self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            [sys.executable, "-m", worker.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        self.thread = threading.Thread(target=self._work, daemon=True)

    def end(self) -> None:
        """End the process and wait for its thread. The target rolls back an open transaction."""
        if self.thread.is_alive():
            self._ended = self.failure is None
            self._process.kill()
            self.thread.join()

    def _work(self) -> None:
        try:
            self._tell(json.dumps(self._ends.setup()))
            while not self._stop.is_set():
                chunk = self._waiting.get_nowait()
                self._tell(chunk.as_json())
                self._on_chunk(chunk, self._hear())
        except queue.Empty:
            pass
        except MigrationError as error:
            self._fail(error)
        except (OSError, ValueError):
            self._fail(MigrationError("A process that copies rows was killed. Run again.", "worker_died"))
        finally:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            self._process.wait()

    def _fail(self, error: MigrationError) -> None:
        # Workers that were ended because another one failed have no failure of their own.
        if not self._ended:
            self.failure = error
        self._stop.set()

    def _tell(self, line: str) -> None:
        if self._process.stdin is None:
            raise AssertionError("the worker was started without standard input")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> int:
        """The number of rows of the chunk that the worker has copied."""
        if self._process.stdout is None:
            raise AssertionError("the worker was started without standard output")
        answer: worker.Answer = json.loads(self._process.stdout.readline() or "{}")
        if "error" in answer:
            raise MigrationError.from_dict(answer["error"])
        if "rows" not in answer:
            raise ValueError("no answer")
        return answer["rows"]
