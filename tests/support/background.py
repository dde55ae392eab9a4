# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that goes on while a test breaks something, and the moments to break it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Sequence

from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job

from . import driver
from .migration import Migration, Run, column

WAIT_SECONDS = 120


class Background:
    """A run of a playbook of ours in a process group of its own; ``through`` is a command that runs it."""

    def __init__(
        self, migration: Migration, *arguments: str, through: Sequence[str] = (), playbook: str = "migrate"
    ) -> None:
        self._output = migration.folder / f"output-{time.monotonic_ns()}"
        self.process = migration.start(self._output, playbook, *arguments, through=through)

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._output.read_text(encoding="utf-8")

    def end(self) -> Run:
        """Wait for its end."""
        code = self.process.wait(timeout=WAIT_SECONDS)
        return Run(code, self.output)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """As if the controller had lost its power, or its operator had pressed Ctrl-C (SIGINT)."""
        # Ansible's workers, with the module that each runs, have process groups of their own; so have jobs, and couch2pg.
        children = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="utf-8").split()
        )
        os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            for child in map(int, children):
                with suppress(ProcessLookupError):
                    os.killpg(child, number)
        self.process.wait()


def wait_until(what: str, true: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Until it is so; fails the test when it doesn't become so."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.01)


def wait_for_program(migration: Migration, kind: str, program: str) -> list[int]:
    """The processes of a job that run ``program``, as soon as there are any."""
    found: list[int] = []

    def look() -> bool:
        found[:] = programs_of(migration, kind, program)
        return bool(found)

    wait_until(f"{program} is started", look)
    return found


def programs_of(migration: Migration, kind: str, program: str) -> list[int]:
    """The processes of a job that run ``program`` at this moment."""
    folder = migration.state / "jobs" / kind
    return [pid for pid in processes.of_job(folder) if processes.name(pid) == program]


def running(migration: Migration, kind: str) -> bool:
    """Whether this job runs."""
    return job.read_state(migration.state / "jobs" / kind).status == "running"


def kill(pids: list[int]) -> None:
    """End processes without asking them, all at once: none of them sees another one end, and does something about it."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def check_nothing_is_there(migration: Migration) -> None:
    """The real name is free, as it was before."""
    if migration.database in migration.databases():
        raise AssertionError("a database has the real name before it was verified")


def check_completes(migration: Migration, whole: bool = False) -> None:
    """What comes next gets there with matching evidence, and leaves nothing behind: the phases, or a ``whole`` run."""
    if whole:
        migration.succeed()
    else:
        driver.reach(migration)
    if migration.database not in migration.databases():
        raise AssertionError("the run succeeded without the database")
    check_nothing_is_left(migration)


def check_nothing_is_left(migration: Migration) -> None:
    """No process, no temporary file, no half-done archive, no transaction that holds a snapshot."""
    jobs = [path for path in (migration.state / "jobs").iterdir() if path.is_dir()]
    left: dict[str, list[object]] = {
        "processes": [pid for folder in jobs for pid in processes.of_job(folder)],
        "locks": [folder for folder in jobs if job.read_state(folder).status == "running"],
        "work": [folder for folder in jobs if (folder / "work").exists()],
        "partial": list(Path(migration.folder).glob("staging/*.partial")),
        "sessions": [
            pid
            for cluster in (migration.source, migration.target)
            for pid in column(cluster, "SELECT pid FROM pg_stat_activity WHERE application_name = 'cht.couch2pg'")
        ],
    }
    if any(left.values()):
        raise AssertionError(f"something is left: {left}")
