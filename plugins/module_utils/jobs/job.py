# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hours-long work as a job on the managed host: started once, joined by whoever asks again.

A job is a folder below the migration's state::

    <state_dir>/<migration_id>/jobs/<kind>/
        spec.json      what it is: entry point, parameters, fingerprint (no secret)
        code/          its own copy of the core (Ansible deletes its temporary module)
        lock           held (flock) by the running job, so that a dead one is known at once
        progress.json  where it is, with a heartbeat
        log            what it and its programs said
        reserve        room for the result, where the disk is full by then
        result.json    how it ended

Secrets reach the job by standard input and stay in its memory.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable

from ..common.errors import MigrationError
from ..host import processes
from ..host.files import expand, lock, make_private_folder, read_json, remove_tree, write_json, write_text
from . import limits
from . import runner as job_runner
from .context import JobContext

# Python 3.9 and older gives a module in a zip, as Ansible's are, its __package__ only after it was loaded.
CORE = __name__.rpartition(".jobs.")[0]
START_SECONDS = 30.0
# A job that keeps to a limit may be waiting for its turn, one that transfers has to take its key back.
STOP_SECONDS = 90.0
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class JobSpec:
    """A piece of long work.

    kind: its name, one folder each.
    entry: the function that does the work, at the top level of a module in module_utils.
    parameters: what the function needs, JSON-able, without secrets.
    fingerprint: the part that makes it *this* work; a different one under the same migration is an error.
    secrets: never written anywhere.
    once: done once, it is not done again with other parameters; not so for work that only looks.
    gentle: how gently it treats its host in the beginning.
    loose: names in the fingerprint that may be others once what was done is gone, so that it is done anew.
    """

    kind: str
    entry: Callable[[JobContext], dict[str, Any]]
    parameters: dict[str, Any]
    fingerprint: dict[str, Any]
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    once: bool = True
    gentle: limits.Limits = field(default_factory=limits.Limits)
    loose: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobState:
    """What is known of a job: ``absent``, ``running``, ``done``, ``failed`` or ``dead``."""

    status: str
    folder: str
    progress: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    started: bool = False

    def raise_if_failed(self) -> None:
        """Raise the job's own error, or ``job_died`` when it vanished without one."""
        if self.status == "failed":
            raise MigrationError.from_dict(self.result["error"])
        if self.status == "dead":
            raise MigrationError(
                f"The job in {self.folder} died without a result: it was killed, or the host restarted. "
                "Run again: it is cleaned up and redone.",
                "job_died",
                folder=self.folder,
            )


def job_folder(state_dir: str, migration_id: str, kind: str) -> Path:
    """Where the job of this kind keeps its files."""
    return expand(state_dir) / migration_id / "jobs" / kind


def job_folders(state_dir: str, migration_id: str) -> list[Path]:
    """The folders of all jobs that the migration has had on this host."""
    jobs = expand(state_dir) / migration_id / "jobs"
    return sorted(jobs.iterdir()) if jobs.is_dir() else []


def look(folder: Path) -> JobState:
    """The state of the job in ``folder``, without touching it."""
    if not (folder / "spec.json").exists():
        return JobState("absent", str(folder))
    # The lock is asked first: a job that ends in between has then written its result.
    running = _is_locked(folder / "lock")
    progress = _progress(folder)
    result = read_json(folder / "result.json")
    if running:
        return JobState("running", str(folder), progress)
    if result is None:
        return JobState("dead", str(folder), progress)
    if not _is_result(result):
        raise MigrationError(
            f"{folder / 'result.json'} isn't a job's result. Look at it, then move {folder} away and run again.",
            "damaged_file",
            path=str(folder),
        )
    return JobState(result["status"], str(folder), progress, result)


def _is_result(found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    error = found.get("error")
    return (found.get("status") == "done" and isinstance(found.get("value"), dict)) or (
        found.get("status") == "failed" and isinstance(error, dict) and {"message", "code"} <= error.keys()
    )


def start_or_join(folder: Path, spec: JobSpec, still_valid: Callable[[dict[str, Any]], bool]) -> JobState:
    """Start the job, join it when it runs, or return its result when it is done and ``still_valid``.

    Raises MigrationError ``different_work`` when the folder holds other work.
    """
    make_private_folder(folder)
    # Two who start at once start one job.
    with lock(folder / "start.lock"):
        state = look(folder)
        if state.status != "absent":
            _check_same_work(folder, spec, state, still_valid)
        if state.status == "running" or (state.status == "done" and still_valid(state.result["value"])):
            return state
        _clear(folder)
        _prepare(folder, spec)
        _spawn(folder, spec)
        # It may be over by now, and that is its own state to tell.
        return replace(look(folder), started=True)


def wait(
    folder: Path, seconds: float | None, started: bool = False, clock: Callable[[], float] = time.monotonic
) -> JobState:
    """The job's state when it has ended, or after ``seconds`` (None: however long it takes)."""
    deadline = None if seconds is None else clock() + seconds
    while True:
        state = look(folder)
        if state.status != "running" or (deadline is not None and clock() >= deadline):
            return replace(state, started=started)
        time.sleep(POLL_SECONDS)


def check(folder: Path, spec: JobSpec, still_valid: Callable[[dict[str, Any]], bool]) -> JobState:
    """The state of the job, for a call that only asks; raises as ``start_or_join`` does."""
    state = look(folder)
    if state.status != "absent":
        _check_same_work(folder, spec, state, still_valid)
    return state


def cancel(folder: Path) -> JobState:
    """Stop the job, if it runs, and let it clean up after itself; its state is then ``failed``, by ``cancelled``.

    One that died has not: then that is done here.
    """
    with lock(folder / "start.lock"):
        if look(folder).status == "running":
            mine = processes.of_job(folder)
            # The job first: it ends its programs itself, and says that it was asked to.
            processes.kill_all([pid for pid in mine if str(pid) == _holder(folder)], STOP_SECONDS)
            wait(folder, START_SECONDS)
        if leaves(folder):
            processes.kill_all(processes.of_job(folder))
            job_runner.clear_work(folder)
        return look(folder)


def leaves(folder: Path) -> bool:
    """Whether there is something to stop: a job that runs, or what one that died has left."""
    status = look(folder).status
    return status == "running" or (status == "dead" and (bool(processes.of_job(folder)) or (folder / "work").is_dir()))


def _holder(folder: Path) -> str:
    try:
        return (folder / "lock").read_text(encoding="utf-8")
    except OSError:
        return ""


def _progress(folder: Path) -> dict[str, Any]:
    """The progress file, which is only for the eye: a damaged one is no reason to stop."""
    try:
        progress = read_json(folder / "progress.json")
    except MigrationError:
        return {}
    return progress if isinstance(progress, dict) else {}


def _check_same_work(
    folder: Path, spec: JobSpec, state: JobState, still_valid: Callable[[dict[str, Any]], bool]
) -> None:
    stored = read_json(folder / "spec.json")
    old = stored.get("fingerprint") if isinstance(stored, dict) else None
    if not isinstance(old, dict):
        raise MigrationError(
            f"{folder / 'spec.json'} isn't a job's description. Look at it, then move {folder} away and run again.",
            "damaged_file",
            path=str(folder),
        )
    new = json.loads(json.dumps(spec.fingerprint))
    differs = {
        name: {"there": old.get(name), "wanted": new.get(name)}
        # What an earlier version of this collection didn't note is not known to differ.
        for name in sorted(set(old) & set(new))
        if old.get(name) != new.get(name)
    }
    if state.status == "done" and differs.keys() <= set(spec.loose) and not still_valid(state.result["value"]):
        return
    if differs and (state.status == "running" or (state.status == "done" and spec.once)):
        words = "; ".join(f"{name} was {pair['there']!r}, is now {pair['wanted']!r}" for name, pair in differs.items())
        doing = "runs" if state.status == "running" else "is done"
        raise MigrationError(
            f"A {spec.kind} of this migration {doing} already, with other parameters: {words}. "
            "Use the same ones again, or choose another migration_id.",
            "different_work",
            folder=str(folder),
            differs=differs,
        )


def _clear(folder: Path) -> None:
    """Remove what an ended job left: its processes first, then its files."""
    processes.kill_all(processes.of_job(folder))
    for name in ("progress.json", "result.json", "spec.json", "log", job_runner.RESERVE):
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    # What write_text had begun when it was killed.
    for path in folder.glob(".*.*"):
        path.unlink()
    for name in ("code", "work"):
        remove_tree(folder / name)


def _prepare(folder: Path, spec: JobSpec) -> None:
    make_private_folder(folder / "work")
    write_text(folder / job_runner.RESERVE, " " * job_runner.RESERVE_BYTES)
    limits.save(folder, spec.gentle)
    _copy_code(folder / "code")
    write_json(
        folder / "spec.json",
        {
            "kind": spec.kind,
            "entry": f"{spec.entry.__module__}:{spec.entry.__name__}",
            "parameters": spec.parameters,
            "fingerprint": spec.fingerprint,
            "created": time.time(),
        },
    )


def _copy_code(target: Path) -> None:
    """Copy every loaded file of the core, from wherever Python loaded it (a folder or Ansible's zip)."""
    for name, module in sorted(sys.modules.items()):
        # The adapter needs Ansible; a job runs without it.
        if not f"{name}.".startswith(f"{CORE}.") or name.startswith(f"{CORE}.adapter"):
            continue
        path = target.joinpath(*name.split("."))
        is_package = hasattr(module, "__path__")
        _make_package(target, path if is_package else path.parent)
        if not is_package:
            source = module.__loader__.get_source(name)  # type: ignore[union-attr]
            write_text(path.with_suffix(".py"), source)


def _make_package(target: Path, folder: Path) -> None:
    make_private_folder(folder)
    while folder != target:
        write_text(folder / "__init__.py", "")
        folder = folder.parent


def _spawn(folder: Path, spec: JobSpec) -> None:
    """Start the job in a session of its own, and wait until it holds its lock or has ended."""
    environment = dict(os.environ, PYTHONPATH=_python_path(folder), PYTHONUNBUFFERED="1")
    environment[processes.MARKER] = str(folder)
    with open(folder / "log", "ab", opener=_private) as log:
        # The core runs without Ansible, so that there is no run_command, which would wait for it anyway.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            [sys.executable, "-m", job_runner.__name__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=str(folder),
            env=environment,
            start_new_session=True,
        )
    if process.stdin is None:
        raise AssertionError("the job was started without standard input")
    # A job that ended at once has a better reason to tell than a broken pipe.
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(spec.secrets).encode())
        process.stdin.close()
    # The process that was started ends as soon as the job, its child, holds the lock.
    if process.wait(timeout=START_SECONDS) != 0:
        raise MigrationError(
            f"The job could not start on this host: {_tail(folder / 'log')}.", "job_not_started", folder=str(folder)
        )


def _python_path(folder: Path) -> str:
    """The job's own code first, then whatever this Python was told (psycopg2 may be there)."""
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(folder / "code")] + ([inherited] if inherited else []))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            # Shared, so that two who look at the same time don't see each other.
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
