# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of all modules that run a job: start or join the job, and show its progress until it ends."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, nullcontext, suppress
from itertools import chain, repeat
from types import FrameType
from typing import Any, ContextManager, Iterator, Mapping, TypedDict, cast

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.cht.couch2pg.plugins.module_utils.common.job_report import JobReport, WatchedJob
from ansible_collections.cht.couch2pg.plugins.module_utils.common.progress_line import duration

from . import controller_way
from .other_host import connect

# Seconds between polls: often at first, then seldom, to keep logs short. The end of a job is noticed at once.
INTERVALS = (5.0, 5.0, 10.0, 15.0, 30.0)
UNREACHABLE_SECONDS = 900.0
JOIN_OR_CANCEL = (
    "To join it, run the same command again{without}. To stop it: ansible-playbook cht.couch2pg.cancel -i inventory.yml "
    "-e couch2pg_migration_id={name}"
)
# Detect a dead connection within a minute. An operator's own ServerAlive options have precedence, because ssh uses the first.
UNANSWERED_SECONDS = 45
SSH_KEEPALIVE = "-o ServerAliveInterval={interval} -o ServerAliveCountMax=3"


class JobAnswer(TypedDict, total=False):
    """A module's result, as far as this plugin reads it."""

    failed: bool
    changed: bool
    msg: str
    code: str
    details: Mapping[str, object]
    job: JobReport


class PolledJobs(JobAnswer, total=False):
    """The result of the module ``job``."""

    jobs: dict[str, WatchedJob]


class JobAction(ActionBase):
    """Runs the module of the same name, and polls with ``job`` while the job is running."""

    _requires_connection = True
    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result as if the module had waited for the job."""
        super().run(tmp, task_vars)
        self._variables = task_vars or {}
        if self._task.async_val or self._task.check_mode or "job_wait" in self._task.args:
            answer = cast("JobAnswer", self._execute_module(task_vars=self._variables, wrap_async=self._task.async_val))
            if self._task.check_mode and answer.get("msg") and not answer.get("failed"):
                # A prediction that holds only under a condition says so in its message.
                self._show(answer["msg"], "check mode")
            return dict(answer)
        keep_alive(self._connection, UNANSWERED_SECONDS)
        host = self._variables.get("inventory_hostname", "")
        join_or_cancel = JOIN_OR_CANCEL.format(
            without=self._without(),
            name=self._task.args.get("migration_id", "NAME"),
        )
        told = _told_when_interrupted(f"The job on {host} continues, if it was started. {join_or_cancel}")
        with told, self._way_to_source():
            return dict(self._follow())

    def _way_to_source(self) -> ContextManager[None]:
        """The forwarding through the controller, from the job to the source, if the task needs one."""
        tunnel = self._task.args.get("tunnel") or {}
        if not tunnel.get("source_host"):
            return nullcontext()
        source = connect(
            tunnel["source_host"],
            False,
            "",
            self._variables,
            self._task.dump_attrs(),
            self._play_context,
            self._templar,
        )
        return controller_way.opened(self._connection, source, int(tunnel["port"]))

    def _follow(self) -> JobAnswer:
        intervals = self._intervals()
        arguments = dict(self._task.args, job_wait=next(intervals))
        try:
            result = cast("JobAnswer", self._execute_module(module_args=arguments, task_vars=self._variables))
        except AnsibleConnectionFailure as error:
            # Whether the job was started is unknown. Don't wait for a host that can't be reached from the start.
            raise AnsibleConnectionFailure(
                f"{error.message} If the job was started, it continues on the host: run the same playbook again{self._without()} "
                "to join it."
            ) from error
        # Kept from the module's first answer, because a job that only reads changes nothing.
        changed = result.get("changed", False)
        while _is_running(result):
            job = result["job"]
            self._show(job["line"], job["kind"])
            result = {**self._poll_patiently(job["kind"], next(intervals)), "changed": changed}
        return result

    def _poll_patiently(self, kind: str, seconds: float) -> JobAnswer:
        """Poll; if the host can't be reached, try again for ``couch2pg_unreachable_seconds``. The job continues."""
        patience = self._number("couch2pg_unreachable_seconds", UNREACHABLE_SECONDS)
        began = time.monotonic()
        while True:
            try:
                return self._poll(kind, seconds)
            except AnsibleConnectionFailure as error:
                away = time.monotonic() - began
                if away >= patience:
                    return self._stopped_watching(kind, away, error)
                self._show(f"the host can't be reached for {duration(away)}; the job continues there", kind)
                time.sleep(min(seconds, max(patience - away, 0)))

    def _stopped_watching(self, kind: str, away: float, error: Exception) -> JobAnswer:
        return {
            "failed": True,
            "changed": True,
            "code": "stopped_watching",
            "msg": f"The host could not be reached for {duration(away)}, so this run stopped waiting for its job {kind}, which "
            f"continues there. When the host is reachable again, run the same playbook again{self._without()} to join the job.",
            "details": {"reason": str(error)},
        }

    def _poll(self, kind: str, seconds: float) -> JobAnswer:
        arguments = {
            "kinds": [kind],
            "migration_id": self._task.args["migration_id"],
            "state_dir": self._task.args["state_dir"],
            "wait": seconds,
        }
        polled = cast("PolledJobs", self._execute_module("cht.couch2pg.job", arguments, task_vars=self._variables))
        if polled.get("failed"):
            return polled
        ended = polled["jobs"][kind]
        result, error = ended["result"], ended["error"]
        job = cast("JobReport", {name: value for name, value in ended.items() if name not in ("result", "error")})
        if job["status"] == "running":
            return {"job": job}
        if error:
            return {
                "failed": True,
                "changed": True,
                "msg": error["message"],
                "code": error["code"],
                "details": error["details"],
                "job": job,
            }
        if result is None:
            # Another run has restarted the job between two polls.
            return {
                "failed": True,
                "msg": f"The job {kind} is {job['status']}. Run the same playbook again{self._without()}.",
                "code": "job_vanished",
                "job": job,
            }
        return cast("JobAnswer", {**result, "job": job})

    def _without(self) -> str:
        """What the next run must leave out: with this variable, it would discard what the job has done."""
        return ", without couch2pg_restart_from" if self._variables.get("couch2pg_restart_from") else ""

    def _intervals(self) -> Iterator[float]:
        """Seconds between progress lines, endlessly."""
        fixed = self._number("couch2pg_progress_seconds", 0.0)
        return repeat(fixed) if fixed > 0 else chain(INTERVALS, repeat(INTERVALS[-1]))

    def _number(self, name: str, default: float) -> float:
        return float(self._templar.template(self._variables.get(name, default)))

    def _show(self, line: str, kind: str) -> None:
        if self._templar.template(self._variables.get("couch2pg_show_progress", True)):
            self._display.display(f"  {self._variables.get('inventory_hostname', '')} | {kind} | {line}")


@contextmanager
def _told_when_interrupted(sentence: str) -> Iterator[None]:
    """Show the sentence on Ctrl-C. A worker of Ansible has no output of its own, so it is written to that of the main process."""
    output = f"/proc/{os.getppid()}/fd/2"
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def tell(number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            descriptor = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
            os.write(descriptor, f"\n{sentence}\n".encode())
            os.close(descriptor)
        _restore(before)
        os.kill(os.getpid(), number)

    for number in before:
        signal.signal(number, tell)
    try:
        yield
    finally:
        _restore(before)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def keep_alive(connection: Any, seconds: int) -> None:
    """Make ssh detect a lost connection. It gets a control connection of its own, because the play's has no keepalive."""
    if connection.transport != "ssh":
        return
    given = connection.get_option("ssh_extra_args") or ""
    wanted = SSH_KEEPALIVE.format(interval=max(1, seconds // 3))
    connection.set_option("ssh_extra_args", f"{given} {wanted}".strip())
    if not connection.get_option("control_path"):
        connection.set_option("control_path", "%(directory)s/couch2pg-%%C")


def _is_running(result: JobAnswer) -> bool:
    return not result.get("failed") and "job" in result and result["job"]["status"] == "running"
