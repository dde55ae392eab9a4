#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cutover changed, for the way back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cutover_memory
short_description: Remember what a cutover changes, or read it
version_added: 0.1.0
description:
  - Keeps what the connections of dashboards were, in C(<state_dir>/<migration_id>/cutover.json) (0600) on the host of the record, before
    they are changed. So there is a way back even when a run is killed in the middle.
  - What was remembered of a connection first stays, until everything was put back. No password is in it.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  side:
    description: Where the dashboards are now; V(between) while they are being changed. Without it, it is only read.
    type: str
    choices: [source, between, target]
  packed:
    description: What is about to be changed, each as its module returned it.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Remember what Superset has before it is changed
  cht.couch2pg.cutover_memory:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    side: between
    packed: ["{{ superset_plan.packed }}"]
"""

RETURN = r"""
side:
  description: Where the dashboards are; null when nothing was ever remembered.
  returned: success
  type: str
  sample: target
changes:
  description: What is remembered, for a person.
  returned: success
  type: list
  elements: dict
  sample: [{tool: klipfolio, name: visits, old: "host=old.example.org", new: "host=new.example.org"}]
packed:
  description: The same for the modules that put it back.
  returned: success
  type: str
  sample: W10=
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import changes as cutover_changes
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import memory as cutover_memory

OPTIONS: dict[str, Any] = {
    "side": {"type": "str", "choices": list(cutover_memory.SIDES)},
    "packed": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    path = cutover_memory.memory_path(options["state_dir"], options["migration_id"])

    def work() -> dict[str, Any]:
        if options["side"] is None:
            after = before = cutover_memory.load(path)
        else:
            changes = [change for packed in options["packed"] for change in cutover_changes.unpack(packed)]
            after, before = cutover_memory.remember(path, changes, options["side"], not module.check_mode)
        known = after["changes"] if after else []
        return {
            "changed": after != before,
            "side": after["side"] if after else None,
            "changes": [cutover_changes.shown(change) for change in known],
            "packed": cutover_changes.pack(known),
        }

    run(module, work)


if __name__ == "__main__":
    main()
