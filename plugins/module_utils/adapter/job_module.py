# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared code of modules that start or join a job. Private to this collection."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Mapping, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..common.job_report import JobReport
from ..common.progress_line import describe
from ..jobs import job
from ..jobs.limits import Limits
from .masking import with_names
from .module import run
from .options import LIMIT_OPTIONS


def initial_limits(module: AnsibleModule) -> Limits:
    """The limits in the module's LIMIT_OPTIONS. Raises MigrationError ``limits``."""
    return Limits(**{name: module.params[name] for name in LIMIT_OPTIONS})


def run_job(
    module: AnsibleModule,
    spec: job.JobSpec,
    still_valid: job.StillValid,
    diff: Callable[[], dict[str, str]] | None = None,
    refuse: Callable[[], None] = lambda: None,
    now: Callable[[Mapping[str, Any]], Mapping[str, object]] = lambda _result: {},
) -> NoReturn:
    """Start or join the job, and end the module with its result.

    Waits ``job_wait`` seconds, or until the job ends without that option. A job that still runs is reported as
    ``job.status: running``; the same call joins it again. In check mode nothing is started;
    ``refuse`` then raises what the job would raise at its start.
    ``now`` gets the result of a finished job, and returns what this call adds to it. The job keeps nothing of that.
    """
    folder = job.job_folder(module.params["state_dir"], module.params["migration_id"], spec.kind)

    def work() -> Mapping[str, object]:
        if module.check_mode:
            return _predict(folder, spec, still_valid, diff, refuse, now)
        state = job.start_or_join(folder, spec, still_valid)
        if state.status == "running":
            state = job.wait(folder, module.params["job_wait"], started=state.started)
        state.raise_if_failed()
        report = describe_job(state, spec.kind)
        if state.status == "running":
            return {"changed": True, "job": report}
        result = dict(_with(now, state), changed=state.started, job=report)
        if diff is not None and state.started:
            result["diff"] = diff()
        return result

    run(module, work)


def predict_job(
    module: AnsibleModule,
    kind: str,
    still_valid: job.StillValid,
    diff: Callable[[], dict[str, str]],
) -> NoReturn:
    """End the module in check mode with what is known without the job's parameters: unchanged when the job is done, else changed.

    Raises MigrationError ``damaged_file``.
    """
    state = job.read_state(job.job_folder(module.params["state_dir"], module.params["migration_id"], kind))
    done = state.status == "done" and still_valid(state.result["value"])
    result = dict(state.result["value"]) if done else {"diff": diff()}
    module.exit_json(**with_names(module, dict(result, changed=not done, job=describe_job(state, kind))))


def _predict(
    folder: Path,
    spec: job.JobSpec,
    still_valid: job.StillValid,
    diff: Callable[[], dict[str, str]] | None,
    refuse: Callable[[], None],
    now: Callable[[Mapping[str, Any]], Mapping[str, object]],
) -> Mapping[str, object]:
    """The result in check mode: unchanged when the job is done, else changed."""
    state = job.check(folder, spec, still_valid)
    if state.status == "done" and still_valid(state.result["value"]):
        return dict(_with(now, state), changed=False, job=describe_job(state, spec.kind))
    if state.status != "running":
        refuse()
    predicted: dict[str, object] = {"changed": True, "job": describe_job(state, spec.kind)}
    if diff is not None:
        predicted["diff"] = diff()
    return predicted


def _with(now: Callable[[Mapping[str, Any]], Mapping[str, object]], state: job.JobState) -> Mapping[str, object]:
    """The result of a finished job, with the values that only this call adds."""
    value = state.result["value"]
    return {**value, **now(value)}


def describe_job(state: job.JobState, kind: str) -> JobReport:
    """The job's state for module results."""
    return {
        "kind": kind,
        "status": state.status,
        "folder": state.folder,
        "started": state.started,
        "progress": state.progress,
        "line": describe(state.progress, time.time()) if state.status == "running" else "",
    }
