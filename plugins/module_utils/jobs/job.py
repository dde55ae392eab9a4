# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run work that takes hours as a job on the managed host: it is started once, and later calls join it.

A job is a folder below the migration's state::

    <state_dir>/<migration_id>/jobs/<kind>/
        spec.json      entry point, parameters and fingerprint (no secret)
        code/          a copy of the core, because Ansible deletes its temporary module
        lock           held (flock) by the running job, so that a killed job is recognised at once
        progress.json  the current step, with a heartbeat
        log            messages of the job and its programs
        reserve        space for the result in case the disk is full when the job ends
        result.json    the result or the error

The job reads its secrets from standard input and keeps them in memory. PostgreSQL's programs get them in passfiles (0600), which
are removed when the job ends, if not before.
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
from typing import Any, Callable, Mapping, cast

from ..common import restart
from ..common.errors import MigrationError
from ..common.progress_document import ProgressDocument
from ..host import processes
from ..host.files import expand, lock, make_private_folder, read_json, remove_tree, write_json, write_text
from . import limits
from . import runner as job_runner
from .context import JobContext
from .result import JobResult

# Not __package__: Python 3.9 and older sets it only after loading a module from a zip, such as Ansible's.
CORE = __name__.rpartition(".jobs.")[0]
# For ``of_kind``: the restore job of a method that has no archive.
COPY = "copy"
# Whether the result of a finished job still holds.
StillValid = Callable[[Mapping[str, Any]], bool]
START_SECONDS = 30.0
# A throttled job may be sleeping, and a transfer removes its key before it ends.
STOP_SECONDS = 90.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class JobSpec:
    """The definition of a job.

    kind: the job's name, such as ``dump``; each kind has its own folder.
    entry: the function that does the work, at the top level of a module in module_utils.
    parameters: the function's input, as JSON types, without secrets.
    fingerprint: the parameters that identify the work; starting different work under the same migration is an error.
    secrets: passwords by name; on disk only in passfiles (0600), until the job ends.
    once: refuse to run a finished job again with another fingerprint; False for jobs that only read.
    initial_limits: the limits that the job starts with.
    changeable: keys of the fingerprint that may change when the result of the finished job no longer exists.
    """

    kind: str
    entry: Callable[[JobContext], Mapping[str, object]]
    parameters: Mapping[str, object]
    fingerprint: Mapping[str, object]
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    once: bool = True
    initial_limits: limits.Limits = field(default_factory=limits.Limits)
    changeable: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobState:
    """The state of a job: ``status`` is ``absent``, ``running``, ``done``, ``failed`` or ``dead`` (no result, not running).

    started: whether this call started the job.
    """

    status: str
    folder: str
    progress: ProgressDocument = field(default_factory=ProgressDocument)
    result: JobResult = field(default_factory=JobResult)
    started: bool = False

    def raise_if_failed(self) -> None:
        """Raise the job's own error, or MigrationError ``job_died`` when it ended without a result."""
        if self.status == "failed":
            raise MigrationError.from_dict(self.result["error"])
        if self.status == "dead":
            raise MigrationError(
                f"The job in {self.folder} ended without a result: it was killed, or the host restarted. "
                "Run again: that cleans up and starts it again.",
                "job_died",
                folder=self.folder,
            )


def job_folder(state_dir: str, migration_id: str, kind: str) -> Path:
    """The folder of the job of this kind."""
    return expand(state_dir) / migration_id / "jobs" / kind


def job_folders(state_dir: str, migration_id: str) -> list[Path]:
    """The folders of all jobs of the migration on this host."""
    jobs = expand(state_dir) / migration_id / "jobs"
    return sorted(jobs.iterdir()) if jobs.is_dir() else []


def read_state(folder: Path) -> JobState:
    """The state of the job in ``folder``; changes nothing. Raises MigrationError ``damaged_file``."""
    state = _read(folder)
    if state.status != "dead":
        return state
    # The job may be starting: its spec.json is written before it holds its lock. Until then, the call that starts it holds start.lock.
    return replace(state, status="running") if _is_locked(folder / "start.lock") else _read(folder)


def _read(folder: Path) -> JobState:
    """The state, for a caller that holds the folder's ``start.lock``: a job without a result that doesn't hold its own lock is dead."""
    if not (folder / "spec.json").exists():
        return JobState("absent", str(folder))
    # Check the lock before reading the result: a job that ends in between has then written its result.
    running = _is_locked(folder / "lock")
    progress = _progress(folder)
    result = read_json(folder / "result.json")
    if running:
        return JobState("running", str(folder), progress)
    if result is None:
        return JobState("dead", str(folder), progress)
    if not _is_result(result):
        raise MigrationError(
            f"{folder / 'result.json'} isn't a job's result. Inspect it, move {folder} away, then run again.",
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


def start_or_join(folder: Path, spec: JobSpec, still_valid: StillValid) -> JobState:
    """Start the job, join it when it runs, or return its result when it is done and ``still_valid(value)``.

    Raises MigrationError ``different_work`` when the folder holds other work.
    """
    make_private_folder(folder)
    # Of two calls at the same time, one starts the job and the other joins it.
    with lock(folder / "start.lock"):
        state = _read(folder)
        if state.status != "absent":
            _check_same_work(folder, spec, state, still_valid)
        if state.status == "running" or (state.status == "done" and still_valid(state.result["value"])):
            return state
        _clear(folder)
        _prepare(folder, spec)
        _spawn(folder, spec)
        # Read the state again: the job may have ended already.
        return replace(_read(folder), started=True)


def of_kind(state_dir: str, migration_id: str, kind: str) -> list[Path]:
    """A list with the folder of the job of this kind. For COPY, the folder of a restore that reads the source; empty without one."""
    if kind != COPY:
        return [job_folder(state_dir, migration_id, kind)]
    folder = job_folder(state_dir, migration_id, "restore")
    spec = read_json(folder / "spec.json")
    parameters = spec.get("parameters") if isinstance(spec, dict) else None
    return [folder] if isinstance(parameters, dict) and "source" in parameters else []


def wait(folder: Path, seconds: float | None, started: bool = False) -> JobState:
    """Wait until the job ends, or for ``seconds`` (None: without a limit), and return its state."""
    return replace(_wait(folder, seconds, read_state), started=started)


def _wait(folder: Path, seconds: float | None, read: Callable[[Path], JobState]) -> JobState:
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        state = read(folder)
        if state.status != "running" or (deadline is not None and time.monotonic() >= deadline):
            return state
        time.sleep(POLL_SECONDS)


def check(folder: Path, spec: JobSpec, still_valid: StillValid) -> JobState:
    """The state of the job in check mode: starts nothing, and raises as ``start_or_join`` does."""
    state = read_state(folder)
    if state.status != "absent":
        _check_same_work(folder, spec, state, still_valid)
    return state


def cancel(folder: Path) -> JobState:
    """Stop the job if it runs; it cleans up and fails with the code ``cancelled``.

    A job that was killed before could not clean up: end its remaining processes and remove its working files.
    """
    with lock(folder / "start.lock"):
        if _read(folder).status == "running":
            mine = processes.of_job(folder)
            # The job's process first: it ends its programs itself and writes its result.
            processes.kill_all([pid for pid in mine if str(pid) == _holder(folder)], STOP_SECONDS)
            _wait(folder, START_SECONDS, _read)
        if _left(folder, _read(folder)):
            job_runner.end_programs(folder)
            job_runner.clear_work(folder)
        return _read(folder)


def forget(folder: Path) -> None:
    """Remove what an ended job left, its result included, so that the same work is done again.

    Raises MigrationError ``job_running``.
    """
    if not folder.is_dir():
        return
    with lock(folder / "start.lock"):
        if _read(folder).status == "running":
            raise MigrationError(f"The job in {folder} runs. Stop it first.", "job_running", jobs=[folder.name])
        _clear(folder)


def needs_cancel(folder: Path) -> bool:
    """Whether the job runs, or was killed and left processes or working files."""
    return _left(folder, read_state(folder))


def _left(folder: Path, state: JobState) -> bool:
    """Whether a job in this state runs or left something."""
    if state.status == "dead":
        return bool(processes.of_job(folder)) or (folder / "work").is_dir()
    return state.status == "running"


def _holder(folder: Path) -> str:
    try:
        return (folder / "lock").read_text(encoding="utf-8")
    except OSError:
        return ""


def _progress(folder: Path) -> ProgressDocument:
    """The progress file; empty when it is damaged, because progress is only displayed."""
    try:
        progress = read_json(folder / "progress.json")
    except MigrationError:
        progress = None
    return cast("ProgressDocument", progress) if isinstance(progress, dict) else ProgressDocument()


def _check_same_work(folder: Path, spec: JobSpec, state: JobState, still_valid: StillValid) -> None:
    stored = read_json(folder / "spec.json")
    old = stored.get("fingerprint") if isinstance(stored, dict) else None
    if not isinstance(old, dict):
        raise MigrationError(
            f"{folder / 'spec.json'} isn't a job's description. Inspect it, move {folder} away, then run again.",
            "damaged_file",
            path=str(folder),
        )
    new = json.loads(json.dumps(spec.fingerprint))
    differs = {
        name: {"stored": old.get(name), "wanted": new.get(name)}
        # A key that an earlier version of this collection didn't store can't be compared.
        for name in sorted(set(old) & set(new))
        if old.get(name) != new.get(name)
    }
    if state.status == "done" and differs.keys() <= set(spec.changeable) and not still_valid(state.result["value"]):
        return
    if differs and (state.status == "running" or (state.status == "done" and spec.once)):
        changes = "; ".join(
            f"{name} was {pair['stored']!r}, is now {pair['wanted']!r}" for name, pair in differs.items()
        )
        status, remedy = "is done", f"migrate under another name: {restart.migrate_as(folder.parents[1].name)}"
        if state.status == "running":
            status, remedy = "is running", "stop it first: ansible-playbook cht.couch2pg.cancel -i inventory.yml"
        elif spec.kind in restart.PHASES:
            remedy = f"{spec.kind} again with the new values: {restart.command(spec.kind)}"
        raise MigrationError(
            f"The {spec.kind} of this migration {status} already, with other parameters: {changes}. "
            f"Use the earlier values, or {remedy}",
            "different_work",
            folder=str(folder),
            differs=differs,
        )


def _clear(folder: Path) -> None:
    """Remove the remains of an ended job: its processes first, then its files."""
    job_runner.end_programs(folder)
    for name in ("progress.json", "result.json", "spec.json", "log", job_runner.RESERVE):
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    # Temporary files of a write_text that was killed.
    for path in folder.glob(".*.*"):
        path.unlink()
    for name in ("code", "work"):
        remove_tree(folder / name)


def _prepare(folder: Path, spec: JobSpec) -> None:
    make_private_folder(folder / "work")
    write_text(folder / job_runner.RESERVE, " " * job_runner.RESERVE_BYTES)
    limits.save(folder, spec.initial_limits)
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
    """Copy every loaded module of the core, whether Python loaded it from a folder or from Ansible's zip.

    The files are not durable: a crash of the host ends the job, and the next run copies the code again.
    """
    for name, module in sorted(sys.modules.items()):
        # The adapter imports Ansible, and jobs run without Ansible.
        if not f"{name}.".startswith(f"{CORE}.") or name.startswith(f"{CORE}.adapter"):
            continue
        path = target.joinpath(*name.split("."))
        is_package = hasattr(module, "__path__")
        _make_package(target, path if is_package else path.parent)
        if not is_package:
            source = module.__loader__.get_source(name)  # type: ignore[union-attr]
            write_text(path.with_suffix(".py"), source, durable=False)


def _make_package(target: Path, folder: Path) -> None:
    if not folder.exists():
        make_private_folder(folder)
    while folder != target and not (folder / "__init__.py").exists():
        write_text(folder / "__init__.py", "", durable=False)
        folder = folder.parent


def _spawn(folder: Path, spec: JobSpec) -> None:
    """Start the job in its own process session, and wait until it holds its lock or has ended."""
    # PYTHONDONTWRITEBYTECODE, because compiled files would be used only once.
    environment = dict(os.environ, PYTHONPATH=_python_path(folder), PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1")
    environment[processes.MARKER] = str(folder)
    with open(folder / "log", "ab", opener=_private) as log:
        # The core runs without Ansible, so it can't use run_command (which would also wait for the job's end).
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
    # When the job ended at once, its exit code and log below explain why.
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(spec.secrets).encode())
        process.stdin.close()
    # The started process exits as soon as its child, the job, holds the lock.
    try:
        code = process.wait(timeout=START_SECONDS)
    except subprocess.TimeoutExpired:
        processes.kill_all(processes.of_job(folder))
        reason = f"it did not begin within {START_SECONDS:.0f} s. Check the load and the disks of this host"
    else:
        if code == 0:
            return
        reason = _last_line(folder / "log")
        if code < 0:
            reason = f"it was killed by signal {-code}, by somebody or because memory ran out (see journalctl -k)"
    raise MigrationError(
        f"The job could not start on this host: {reason}. Then run again.", "job_not_started", folder=str(folder)
    )


def _python_path(folder: Path) -> str:
    """The job's own code first, then this process's PYTHONPATH, where psycopg2 may be installed."""
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(folder / "code")] + ([inherited] if inherited else []))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed no message"


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            # A shared lock, so that two readers at the same time don't take each other for the job.
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
