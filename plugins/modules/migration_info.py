#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the migrations of a host stand."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: Show the status of migrations
version_added: 0.1.0
description:
  - Returns the finished phases, the running jobs with their progress, and the last errors, as far as they are stored on this host.
  - Starts nothing, changes nothing, and needs no database.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
options:
  migration_id:
    description: Name of the migration; without it, all migrations of the host.
    type: str
  state_dir:
    description: Folder on the managed host for the state of migrations.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Read the status
  cht.couch2pg.migration_info:
    state_dir: ~/couch2pg
  register: known

- name: Show it
  ansible.builtin.debug:
    var: known.lines
"""

RETURN = r"""
migrations:
  description: Each migration with its phases, its jobs, whether it was promoted, and unreadable files.
  returned: success
  type: list
  elements: dict
  sample:
    - migration_id: cht-2026
      phases: {dump: {status: done, at: "2026-11-24T01:00:00Z", host: source, error: null}}
      jobs: []
      promoted: null
      problems: []
lines:
  description: The same as lines of text.
  returned: success
  type: list
  elements: str
  sample: ["Migration cht-2026", "  done     preflight, dump", "  running  restore: [2/4] data | 1.2 GB of 2.5 GB (48 %)"]
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.status import overview

OPTIONS: dict[str, Any] = {
    "migration_id": {"type": "str"},
    "state_dir": {"type": "path", "required": True},
}


def main() -> None:
    """Entry point."""
    module = make_module(OPTIONS)
    options = module.params

    def work() -> dict[str, Any]:
        names = [options["migration_id"]] if options["migration_id"] else overview.migration_ids(options["state_dir"])
        found = [overview.overview(options["state_dir"], name) for name in names]
        shown = [line for entry in found for line in overview.lines(entry)]
        return {"changed": False, "migrations": found, "lines": shown or ["No migration is known on this host."]}

    run(module, work)


if __name__ == "__main__":
    main()
