#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job of a migration is, or how it ended."""

from __future__ import annotations

DOCUMENTATION = r"""
module: job_info
short_description: Show the state of a job
version_added: 0.1.0
description:
  - Returns whether a job is running, its progress, and its result. Starts nothing and needs no database.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.migration
options:
  kind:
    description: Which job, such as V(dump), V(archive_check), V(restore), V(refresh) or V(verify).
    type: str
    required: true
  wait:
    description: Seconds to wait for the end of a running job.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Show the progress of the restore
  cht.couch2pg.job_info:
    kind: restore
    migration_id: cht-2026
    state_dir: ~/couch2pg
"""

RETURN = r"""
job:
  description: The job; see M(cht.couch2pg.pg_dump).
  returned: success
  type: dict
  sample: {kind: restore, status: running, started: false, folder: /srv/state/cht-2026/jobs/restore, progress: {step: data}}
line:
  description: The progress as one line of text.
  returned: success
  type: str
  sample: data | 1.2 GB of about 2.5 GB (48 %) | 41.0 MB/s | about 31 s left
result:
  description: The job's result; null unless it is done.
  returned: success
  type: dict
  sample: null
error:
  description: The job's error (message, code, details); null unless it failed.
  returned: success
  type: dict
  sample: null
"""

import time
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import describe_job
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.progress_line import describe
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job

OPTIONS = {
    "kind": {"type": "str", "required": True},
    "wait": {"type": "float", "default": 0},
}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    folder = job.job_folder(options["state_dir"], options["migration_id"], options["kind"])

    def work() -> dict[str, Any]:
        state = job.wait(folder, options["wait"])
        error = None
        try:
            state.raise_if_failed()
        except MigrationError as raised:
            error = raised.as_dict()
        return {
            "changed": False,
            "job": describe_job(state, options["kind"]),
            "line": describe(state.progress, time.time() if state.status == "running" else None),
            "result": state.result.get("value"),
            "error": error,
        }

    run(module, work)


if __name__ == "__main__":
    main()
