#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show jobs, stop them, or change their limits."""

from __future__ import annotations

DOCUMENTATION = r"""
module: job
short_description: Show the jobs of a migration, stop them, or change their limits
version_added: 0.1.0
description:
  - Works on the jobs of this host. It starts none, and needs no database.
  - With O(state=running), changes the limits that are given, and returns each job's progress and result. Without a limit, it changes
    nothing. A running job follows within seconds. The number of its workers can't be changed.
  - With O(state=stopped), asks each job to stop and waits until it has ended with all its programs and sessions. It also ends programs
    that a killed job left behind. Nothing is lost - the next run uses or removes what is unfinished.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  state:
    description: Whether the jobs continue, with the limits that are given, or stop.
    type: str
    default: running
    choices: [running, stopped]
  kinds:
    description:
      - Which jobs, such as V(dump), V(archive_check), V(restore), V(refresh) or V(verify). Without it, all jobs of the migration.
      - V(copy) is V(restore) with the methods C(stream) and C(physical), whose job reads the source.
    type: list
    elements: str
  nice:
    description: Niceness, from V(0) to V(19). Without it, the niceness is not changed. Only root can lower it again.
    type: int
  io_class:
    description: Class of disk access. Without it, the class is not changed.
    type: str
    choices: [none, best-effort, idle]
  rate_limit:
    description: Maximum bytes of tables to read per second, V(0) for no limit. Without it, the limit is not changed.
    type: bytes
  wait:
    description: With O(state=running), seconds to wait for the end of each running job.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Read the progress of the restore
  cht.couch2pg.job:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    kinds: [restore]
  register: known

- name: Show it
  ansible.builtin.debug:
    var: known.jobs.restore.line

- name: Slow the dump down while people work
  cht.couch2pg.job:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    kinds: [dump]
    rate_limit: 10 MB

- name: Stop every job
  cht.couch2pg.job:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    state: stopped
"""

RETURN = r"""
stopped:
  description: The jobs that were stopped, and those that had left programs behind.
  returned: with O(state=stopped)
  type: list
  elements: str
  sample: [restore]
jobs:
  description: Each job by its kind; see also M(cht.couch2pg.pg_dump). A kind that was asked for, and has no job, is V(absent).
  returned: with O(state=running)
  type: dict
  contains:
    status:
      description: V(absent), V(running), V(done), V(failed), or V(dead) for a job that was killed.
      type: str
    line:
      description: The progress of a running job as one line of text, else empty.
      type: str
    result:
      description: The job's result; null unless it is done.
      type: dict
    error:
      description: The job's error (message, code, details); null unless it failed.
      type: dict
  sample:
    restore: {kind: restore, status: running, started: false,
      folder: /var/lib/postgresql/couch2pg-migration/cht-2026/jobs/restore, progress: {step: data},
      line: data | 1.2 GB of about 2.5 GB (48 %) | 41.0 MB/s | about 31 s left, result: null, error: null}
limits:
  description: The limits of each running job from now on.
  returned: with O(state=running)
  type: dict
  sample: {dump: {nice: 10, io_class: none, rate_limit: 10485760}}
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import describe_job
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.job_report import WatchedJob
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job, limits

OPTIONS: dict[str, Option] = {
    "state": {"type": "str", "default": "running", "choices": ["running", "stopped"]},
    "kinds": {"type": "list", "elements": "str"},
    "nice": {"type": "int"},
    "io_class": {"type": "str", "choices": list(limits.IO_CLASSES)},
    "rate_limit": {"type": "bytes"},
    "wait": {"type": "float", "default": 0},
}


def _stop(folders: list[Path], check_mode: bool) -> Mapping[str, object]:
    stopping = [folder for folder in folders if job.needs_cancel(folder)]
    if not check_mode:
        for folder in stopping:
            job.cancel(folder)
    return {"changed": bool(stopping), "stopped": [folder.name for folder in stopping]}


def _limit(folders: list[Path], given: Mapping[str, Any], check_mode: bool) -> Mapping[str, object]:
    running = [folder for folder in folders if job.read_state(folder).status == "running"]
    before = {folder.name: limits.load(folder) for folder in running}
    after = {name: replace(old, **given) for name, old in before.items()}
    if not check_mode:
        for folder in running:
            if after[folder.name] != before[folder.name]:
                limits.save(folder, after[folder.name])
    shown_before, shown_after = (
        {name: found.as_dict() for name, found in sorted(all_limits.items())} for all_limits in (before, after)
    )
    diff = {"before": shown_before, "after": shown_after}
    return {"changed": before != after, "limits": shown_after, "diff": diff}


def _shown(state: job.JobState, kind: str) -> WatchedJob:
    error = None
    try:
        state.raise_if_failed()
    except MigrationError as raised:
        error = raised.as_dict()
    return {**describe_job(state, kind), "result": state.result.get("value"), "error": error}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params

    def work() -> Mapping[str, object]:
        place = (options["state_dir"], options["migration_id"])
        folders = (
            job.job_folders(*place)
            if options["kinds"] is None
            else [folder for kind in options["kinds"] for folder in job.of_kind(*place, kind)]
        )
        if options["state"] == "stopped":
            return _stop(folders, module.check_mode)
        names = ("nice", "io_class", "rate_limit")
        given = {name: options[name] for name in names if options[name] is not None}
        changed = _limit(folders, given, module.check_mode)
        waited = [job.wait(folder, options["wait"]) for folder in folders]
        return dict(changed, jobs={folder.name: _shown(state, folder.name) for folder, state in zip(folders, waited)})

    run(module, work)


if __name__ == "__main__":
    main()
