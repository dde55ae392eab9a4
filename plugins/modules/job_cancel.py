#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop the jobs of a migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: job_cancel
short_description: Stop the jobs of a migration
version_added: 0.1.0
description:
  - Stops every running job of the migration on this host, and waits until it has ended with all its programs and sessions.
  - If a job was killed before, ends the programs that it left.
  - The next run resumes or cleans up incomplete work.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  kind:
    description: Only this job; without it, all of them.
    type: str
"""

EXAMPLES = r"""
- name: Stop all running jobs
  cht.couch2pg.job_cancel:
    migration_id: cht-2026
    state_dir: ~/couch2pg
"""

RETURN = r"""
cancelled:
  description: The jobs that were stopped or cleaned up.
  returned: success
  type: list
  elements: str
  sample: [restore]
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job

OPTIONS: dict[str, Any] = {
    "kind": {"type": "str"},
}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params

    def work() -> dict[str, Any]:
        folders = job.job_folders(options["state_dir"], options["migration_id"])
        wanted = [folder for folder in folders if options["kind"] in (None, folder.name)]
        stopping = [folder for folder in wanted if job.needs_cancel(folder)]
        if not module.check_mode:
            for folder in stopping:
                job.cancel(folder)
        return {"changed": bool(stopping), "cancelled": [folder.name for folder in stopping]}

    run(module, work)


if __name__ == "__main__":
    main()
