# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind every module whose work is a job: start or join it, and show how far it is until it ends."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any, Iterator

from ansible.plugins.action import ActionBase
from ansible_collections.cht.couch2pg.plugins.module_utils.progress_line import describe

# Often at first, so that a mistake shows at once; then seldom enough for a log that is read the next day.
INTERVALS = (2.0, 3.0, 5.0, 10.0, 15.0, 30.0)


class JobAction(ActionBase):
    """Runs the module of its own name; polls with ``job_info`` while the job goes on."""

    _requires_connection = True
    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result, as if it had waited."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        if self._task.async_val or self._task.check_mode or "job_wait" in self._task.args:
            return self._execute_module(task_vars=variables, wrap_async=self._task.async_val)
        intervals = self._intervals(variables)
        arguments = dict(self._task.args, job_wait=next(intervals))
        result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=variables)
        while _is_running(result):
            self._show(result["job"], variables)
            result = self._poll(result["job"]["kind"], next(intervals), variables)
        return result

    def _intervals(self, variables: dict[str, Any]) -> Iterator[float]:
        """Seconds between one line and the next, without an end."""
        fixed = float(self._templar.template(variables.get("couch2pg_progress_seconds", 0)))
        return repeat(fixed) if fixed > 0 else chain(INTERVALS, repeat(INTERVALS[-1]))

    def _poll(self, kind: str, seconds: float, variables: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="cht.couch2pg.job_info",
            module_args={
                "kind": kind,
                "migration_id": self._task.args["migration_id"],
                "state_dir": self._task.args["state_dir"],
                "wait": seconds,
            },
            task_vars=variables,
        )
        if answer.get("failed") or _is_running(answer):
            return answer
        error = answer["error"]
        if error:
            return {
                "failed": True,
                "changed": True,
                "msg": error["message"],
                "code": error["code"],
                "details": error["details"],
                "job": answer["job"],
            }
        return dict(answer["result"], changed=True, job=answer["job"])

    def _show(self, job: dict[str, Any], variables: dict[str, Any]) -> None:
        if self._templar.template(variables.get("couch2pg_show_progress", True)):
            self._display.display(
                f"  {variables.get('inventory_hostname', '')} | {job['kind']} | {describe(job['progress'])}"
            )


def _is_running(result: dict[str, Any]) -> bool:
    return not result.get("failed") and result.get("job", {}).get("status") == "running"
