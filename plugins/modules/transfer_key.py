#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key of a transfer, on the target."""

from __future__ import annotations

DOCUMENTATION = r"""
module: transfer_key
short_description: Create the key with which the target fetches an archive
version_added: 0.2.0
description:
  - Creates an ed25519 key (0600) in the folder of the job that will use it. A running job keeps its key.
  - The job removes the key when it ends. O(state=absent) removes the key of a killed job, but not that of a running one.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  state:
    description: Whether the key exists.
    type: str
    default: present
    choices: [present, absent]
"""

EXAMPLES = r"""
- name: Make the key
  cht.couch2pg.transfer_key:
    migration_id: cht-2026
    state_dir: ~/couch2pg
  register: key
"""

RETURN = r"""
public_key:
  description: The public half, for M(cht.couch2pg.transfer_gate).
  returned: with O(state=present), unless in check mode
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI
running:
  description: Whether a running job uses the key.
  returned: success, unless O(state=present) in check mode
  type: bool
  sample: false
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import key as transfer_key

OPTIONS: dict[str, Any] = {"state": {"type": "str", "default": "present", "choices": ["present", "absent"]}}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    folder = job.job_folder(options["state_dir"], options["migration_id"], transfer_key.KIND)
    words = {True: "a key\n", False: ""}

    def work() -> dict[str, Any]:
        if options["state"] == "absent":
            removed = transfer_key.remove(folder, write=not module.check_mode)
            running = job.read_state(folder).status == "running"
            return {"changed": removed, "running": running, "diff": {"before": words[removed], "after": ""}}
        diff = {"before": "", "after": words[True]}
        if module.check_mode:
            return {"changed": True, "diff": diff}
        made = transfer_key.make(folder)
        return dict(made, changed=not made["running"], diff=diff)

    run(module, work)


if __name__ == "__main__":
    main()
