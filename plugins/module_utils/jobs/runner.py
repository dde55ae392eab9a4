# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of a job: ``python -m ... runner FOLDER``, with the secrets as JSON on standard input.

It exits with 0 as soon as the job runs in the background. Two processes remain: a worker, and a parent that waits for it.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Mapping

from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..host import container_programs, containers, processes
from ..host.files import read_json, remove_tree, write_json
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session
from . import lock_notes
from .context import JobContext
from .progress import Progress
from .result import JobResult
from .throttle import Throttle

LOCK_SECONDS = 5.0
# The signals that cancel a job.
STOP = (signal.SIGTERM, signal.SIGINT)
# How long a server that can't be reached may delay the end of a job.
CANCEL_SECONDS = 3.0
_statements_cancelled = threading.Event()
# A file that reserves disk space for the result, and its size.
RESERVE, RESERVE_BYTES = "reserve", 256 * 1024


class _Cancelled(BaseException):
    """The job received SIGTERM or SIGINT."""


def main(folder: Path) -> int:
    """Run the job that ``folder`` describes and write its result there; returns 0 when it succeeded."""
    secrets = json.load(sys.stdin)
    # Files that pg_dump writes must be private too.
    os.umask(0o077)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    _take(descriptor)
    # The worker unblocks these signals where it can clean up and write its result. The parent never does.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    # The child inherits the lock; this process's exit tells the caller that the job runs.
    if os.fork():
        return 0
    worker = os.fork()
    if worker:
        return wait_for_worker(folder, worker)
    for number in STOP:
        signal.signal(number, _cancel)
    _interrupt_statements()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    result = _run(folder, secrets)
    sweep(folder)
    # Frees the reserved space first, so that the result can be written on a full disk.
    clear_work(folder)
    write_json(folder / "result.json", result)
    return 0 if result["status"] == "done" else 1


def _take(descriptor: int) -> None:
    """Take the job's lock. A process that reads the job's state holds it for a moment, so try for LOCK_SECONDS."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def wait_for_worker(folder: Path, worker: int) -> int:
    """Wait for the worker, then end its remaining programs and, if it wrote no result, remove its working files. Returns the exit code.

    Otherwise a stopped pg_dump would hold its snapshot on the source forever, and programs that pg_upgrade started would continue.
    The job's lock is held until then.
    """
    _pid, status = os.waitpid(worker, 0)
    if (folder / "result.json").exists():
        processes.kill_all(processes.of_job(folder))
        return 0
    end_programs(folder)
    clear_work(folder)
    how = f"was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended without a result"
    with suppress(OSError):
        sys.stderr.write(f"The job {how}: by a user, or because memory or disk space ran out.\n")
    return 1


def end_programs(folder: Path) -> None:
    """End the remaining programs of the job in ``folder``, in containers too."""
    processes.kill_all(processes.of_job(folder))
    sweep(folder)


def sweep(folder: Path) -> None:
    """Remove the helper containers of a job whose programs are in an image."""
    # Docker may have stopped as well. Ignore that, because the job's own error is the one to show.
    with suppress(MigrationError, OSError):
        parameters = (read_json(folder / "spec.json") or {}).get("parameters") or {}
        if container_programs.is_one(str(parameters.get("bin_dir") or "")):
            containers.sweep(str(folder))


def clear_work(folder: Path) -> None:
    """Remove the files that a job keeps only while it runs."""
    remove_tree(folder / "work")
    with suppress(FileNotFoundError):
        (folder / RESERVE).unlink()


def _run(folder: Path, secrets: dict[str, str]) -> JobResult:
    try:
        return {"status": "done", "value": _stoppable(folder, secrets)}
    except MigrationError as error:
        failure = error
    except _Cancelled:
        failure = MigrationError("The job was stopped by a signal. Run again to continue.", "cancelled")
    except OSError as error:
        failure = MigrationError.from_system(error)
    except Exception as error:  # noqa: BLE001 - the last place that can write the error into the result
        with suppress(OSError):
            traceback.print_exc()
        failure = MigrationError(
            f"The job failed with an unexpected error: {type(error).__name__}: {error}. "
            f"See the traceback in {folder / 'log'}, and report it as a bug.",
            "unexpected",
        )
    # On a full disk, the result still has its reserve.
    with suppress(OSError):
        sys.stderr.write(failure.message + "\n")
    return {"status": "failed", "error": failure.as_dict()}


def _stoppable(folder: Path, secrets: dict[str, str]) -> Mapping[str, object]:
    """Do the work; a signal of STOP ends it, and is blocked before and after."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
        return _work(folder, secrets)
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)


def _work(folder: Path, secrets: dict[str, str]) -> Mapping[str, object]:
    """Call the entry function of the job; returns its value with ``started_at`` and ``ended_at``."""
    started = utc_now()
    spec = read_json(folder / "spec.json")
    parameters = spec["parameters"]
    connection, settings = parameters.get("connection"), None
    if connection is not None:
        settings = ConnectionSettings.restored(connection, secrets.get("login_password"))
    module, function = spec["entry"].split(":")
    work = getattr(importlib.import_module(module), function)
    # Lock waits have no limit, because the progress shows them.
    Session.default_lock_seconds = 0
    with Progress(folder / "progress.json") as progress, Throttle(folder, settings) as throttle, lock_notes.shown(
        progress, settings
    ):
        value = work(JobContext(folder, parameters, progress, throttle, secrets))
    return {**value, "started_at": started, "ended_at": utc_now()}


def _interrupt_statements() -> None:
    """Let a signal cancel running statements. Python calls no signal handler while its main thread waits for a server."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)

    def cancel() -> None:
        while os.read(reading, 1):
            Session.cancel_all()
            _statements_cancelled.set()

    threading.Thread(target=cancel, daemon=True).start()


def _cancel(_number: int, _frame: FrameType | None) -> None:
    # The clean-up runs statements, too, so wait until those of the work have been cancelled.
    _statements_cancelled.wait(CANCEL_SECONDS)
    raise _Cancelled


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
