#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change how gently a running job treats its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: job_limits
short_description: Change the resource limits of a running job
version_added: 0.1.0
description:
  - Sets niceness, disk scheduling class and rate limit of a running job, which applies them within seconds.
  - The number of workers can't be changed while a job runs.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  kind:
    description: Which job, such as V(dump) or V(digest).
    type: str
    default: dump
  nice:
    description: Niceness, from V(0) to V(19); unchanged if not set. Only root can lower it.
    type: int
  io_class:
    description: Disk scheduling class; unchanged if not set.
    type: str
    choices: [none, best-effort, idle]
  rate_limit:
    description: Maximum bytes of tables to read per second, V(0) for no limit; unchanged if not set.
    type: int
"""

EXAMPLES = r"""
- name: Slow down the dump during working hours
  cht.couch2pg.job_limits:
    migration_id: cht-2026
    state_dir: ~/couch2pg
    rate_limit: "{{ '10 MB' | human_to_bytes }}"
"""

RETURN = r"""
limits:
  description: The new limits of the job.
  returned: success
  type: dict
  sample: {nice: 10, io_class: none, rate_limit: 10485760}
running:
  description: Whether the job is running; if not, nothing is changed.
  returned: success
  type: bool
  sample: true
"""

from dataclasses import replace
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job, limits

OPTIONS: dict[str, Any] = {
    "kind": {"type": "str", "default": "dump"},
    "nice": {"type": "int"},
    "io_class": {"type": "str", "choices": list(limits.IO_CLASSES)},
    "rate_limit": {"type": "int"},
}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    folder = job.job_folder(options["state_dir"], options["migration_id"], options["kind"])

    def work() -> dict[str, Any]:
        running = job.read_state(folder).status == "running"
        before = limits.load(folder)
        given = {name: options[name] for name in before.as_dict() if options[name] is not None}
        after = replace(before, **given)
        changed = running and after != before
        if changed and not module.check_mode:
            limits.save(folder, after)
        shown = after if running else before
        diff = {"before": before.as_dict(), "after": shown.as_dict()}
        return {"changed": changed, "running": running, "limits": shown.as_dict(), "diff": diff}

    run(module, work)


if __name__ == "__main__":
    main()
