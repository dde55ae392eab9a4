#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop running jobs, or change their limits."""

from __future__ import annotations

DOCUMENTATION = r"""
module: job
short_description: Stop the running jobs of a migration, or change their limits
version_added: 0.1.0
description:
  - Works on jobs that run on this host. It starts none; M(cht.couch2pg.job_info) shows them.
  - With O(state=stopped), asks each job to stop and waits until it has ended with all its programs and sessions. It also ends programs
    that a killed job left behind. Nothing is lost - the next run uses or cleans up what was half done.
  - With O(state=running), changes the limits that are given. A job follows within seconds. The number of its workers can't be changed.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  state:
    description: Whether the jobs go on, with the limits that are given, or stop.
    type: str
    default: running
    choices: [running, stopped]
  kinds:
    description: Which jobs, such as V(dump) or V(restore). Without it, all jobs of the migration.
    type: list
    elements: str
  nice:
    description: Niceness, from V(0) to V(19). Without it, it stays as it is. Only root can make a process less nice again.
    type: int
  io_class:
    description: Class of disk access. Without it, it stays as it is.
    type: str
    choices: [none, best-effort, idle]
  rate_limit:
    description: Most bytes of tables to read in a second, V(0) for no limit. Without it, it stays as it is.
    type: bytes
"""

EXAMPLES = r"""
- name: Slow the dump down while people work
  cht.couch2pg.job:
    migration_id: cht-2026
    state_dir: ~/couch2pg
    kinds: [dump]
    rate_limit: 10 MB

- name: Stop every job
  cht.couch2pg.job:
    migration_id: cht-2026
    state_dir: ~/couch2pg
    state: stopped
"""

RETURN = r"""
stopped:
  description: The jobs that were stopped, and those that had left programs behind.
  returned: with O(state=stopped)
  type: list
  elements: str
  sample: [restore]
limits:
  description: The limits of each running job from now on.
  returned: with O(state=running)
  type: dict
  sample: {dump: {nice: 10, io_class: none, rate_limit: 10485760}}
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job, limits

OPTIONS: dict[str, Any] = {
    "state": {"type": "str", "default": "running", "choices": ["running", "stopped"]},
    "kinds": {"type": "list", "elements": "str"},
    "nice": {"type": "int"},
    "io_class": {"type": "str", "choices": list(limits.IO_CLASSES)},
    "rate_limit": {"type": "bytes"},
}


def _stop(folders: list[Path], check_mode: bool) -> dict[str, Any]:
    stopping = [folder for folder in folders if job.needs_cancel(folder)]
    if not check_mode:
        for folder in stopping:
            job.cancel(folder)
    return {"changed": bool(stopping), "stopped": [folder.name for folder in stopping]}


def _limit(folders: list[Path], given: dict[str, Any], check_mode: bool) -> dict[str, Any]:
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


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params

    def work() -> dict[str, Any]:
        known = job.job_folders(options["state_dir"], options["migration_id"])
        folders = [folder for folder in known if options["kinds"] is None or folder.name in options["kinds"]]
        if options["state"] == "stopped":
            return _stop(folders, module.check_mode)
        names = ("nice", "io_class", "rate_limit")
        given = {name: options[name] for name in names if options[name] is not None}
        return _limit(folders, given, module.check_mode)

    run(module, work)


if __name__ == "__main__":
    main()
