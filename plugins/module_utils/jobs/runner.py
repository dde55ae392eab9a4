# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of a job: ``python -m ... job_runner FOLDER``, with the secrets as JSON on standard input.

It detaches itself, and ends with 0 as soon as the job runs. Two processes remain: the one that works, and one that sees it end.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..host import processes
from ..host.files import read_json, remove_tree, write_json
from ..postgres.connection import ConnectionSettings
from .context import JobContext
from .progress import Progress
from .throttle import Sparing

LOCK_SECONDS = 5.0
# A file that keeps room for the result, and how much.
RESERVE, RESERVE_BYTES = "reserve", 256 * 1024


class _Cancelled(BaseException):
    """SIGTERM or SIGINT arrived."""


def main(folder: Path) -> int:
    """Run the job that ``folder`` describes and leave its result there; 0 when it succeeded."""
    secrets = json.load(sys.stdin)
    # What pg_dump writes is for nobody else, either.
    os.umask(0o077)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    _take(descriptor)
    # The lock goes along to the child; whoever started this process sees it end and knows that the job runs.
    if os.fork():
        return 0
    # Whoever stops the job stops the one that works.
    _on_stop(signal.SIG_IGN)
    worker = os.fork()
    if worker:
        return see_it_end(folder, worker)
    _on_stop(_cancel)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    spec = read_json(folder / "spec.json")
    parameters = spec["parameters"]
    place, settings = parameters.get("connection"), None
    if place is not None:
        settings = ConnectionSettings.restored(place, secrets.get("login_password"))
    with Progress(folder / "progress.json") as progress, Sparing(folder, settings) as sparing:
        result = _run(JobContext(folder, parameters, progress, sparing, secrets), spec["entry"])
    # There is room for the result on a full disk, too.
    clear_work(folder)
    write_json(folder / "result.json", result)
    return 0 if result["status"] == "done" else 1


def _take(descriptor: int) -> None:
    """Take the job's lock: nobody else starts it now, but whoever looks at it holds it for a moment."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _on_stop(handler: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def see_it_end(folder: Path, worker: int) -> int:
    """End what the worker ran when it was killed: a halted pg_dump would hold its snapshot on the source for ever.

    The lock is held until then.
    """
    _pid, status = os.waitpid(worker, 0)
    if (folder / "result.json").exists():
        return 0
    processes.kill_all(processes.of_job(folder))
    clear_work(folder)
    how = f"was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended without a result"
    with suppress(OSError):
        sys.stderr.write(f"The job {how}: by somebody, or for want of memory or of disk.\n")
    return 1


def clear_work(folder: Path) -> None:
    """Remove what a job keeps only while it runs."""
    remove_tree(folder / "work")
    with suppress(FileNotFoundError):
        (folder / RESERVE).unlink()


def _run(context: JobContext, entry: str) -> dict[str, Any]:
    module, function = entry.split(":")
    started = time.time()
    try:
        work = getattr(importlib.import_module(module), function)
        times = {"started_at": utc_now(lambda: started)}
        return {"status": "done", "value": {**work(context), **times, "ended_at": utc_now()}}
    except MigrationError as error:
        failure = error
    except _Cancelled:
        failure = MigrationError("The job was stopped by a signal. Run again to redo it.", "cancelled")
    except OSError as error:
        failure = MigrationError.from_system(error)
    except Exception as error:  # noqa: BLE001 - the last place that can put it into the result
        with suppress(OSError):
            traceback.print_exc()
        failure = MigrationError(
            f"The job failed in a way that it didn't expect: {type(error).__name__}: {error}. "
            f"The log in {context.folder / 'log'} has the details.",
            "unexpected",
        )
    context.log(failure.message)
    return {"status": "failed", "error": failure.as_dict()}


def _cancel(_number: int, _frame: FrameType | None) -> None:
    raise _Cancelled


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
