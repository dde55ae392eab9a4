#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: record
short_description: Read the record of a migration, or add to it
version_added: 0.1.0
description:
  - The record is one JSON document for each migration, C(<state_dir>/<migration_id>/record.json) on the target.
  - Every phase adds its result. A result that is the same as before changes nothing.
  - Beside it, in C(cutover.json) (0600), is the way back of a cutover, each connection of a dashboard as it was before the cutover
    changed it. The first stored value of a connection stays until everything was put back. Neither file contains a password.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  database:
    description: Name of the database, for a new record.
    type: str
    default: ""
  phase:
    description: The phase that adds its result; without it, the record is only read.
    type: str
    choices: [preflight, dump, transfer, restore, refresh, verify, promote, handover, dashboards, cutover, rollback, cleanup, rehearse]
  host:
    description: Inventory name of the host where the phase ran.
    type: str
    default: ""
  result:
    description: The registered result of the phase. Keys that Ansible adds to results are left out.
    type: dict
    default: {}
  dashboards_on:
    description: Where the dashboards lead now; V(between) while a cutover changes them. Without it, the way back is only read.
    type: str
    choices: [source, between, target]
  cutover_changes:
    description: With O(dashboards_on), what the cutover is about to change, as its modules returned it in C(packed).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Record the result of the dump
  cht.couch2pg.record:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    phase: dump
    host: "{{ inventory_hostname }}"
    result: "{{ dump_result }}"

- name: Store what Superset has before the cutover changes it
  cht.couch2pg.record:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    dashboards_on: between
    cutover_changes: ["{{ superset_plan.packed }}"]

- name: Read the record
  cht.couch2pg.record:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
path:
  description: The path of the record.
  returned: success
  type: str
  sample: /var/lib/postgresql/couch2pg-migration/cht-2026/record.json
record:
  description: The record; null if there is none yet.
  returned: success
  type: dict
  sample: {format: 1, migration_id: cht-2026, database: cht, phases: {}}
way_back:
  description: The way back of the cutover.
  returned: success
  type: dict
  contains:
    side:
      description: Where the dashboards lead; null when no cutover changed anything.
      type: str
      returned: success
    changes:
      description: Each changed connection, to show.
      type: list
      elements: dict
      returned: success
    packed:
      description: The same for the modules that put it back.
      type: str
      returned: success
  sample: {side: target, changes: [{tool: klipfolio, name: visits, old: "host=old", new: "host=new"}], packed: W10=}
"""

import json
from pathlib import Path
from typing import Any, Mapping, TypedDict

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import changes as cutover_changes
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import way_back
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document

OPTIONS: dict[str, Option] = {
    "database": {"type": "str", "default": ""},
    "phase": {"type": "str", "choices": list(record_document.PHASES)},
    "host": {"type": "str", "default": ""},
    "result": {"type": "dict", "default": {}},
    "dashboards_on": {"type": "str", "choices": list(way_back.SIDES)},
    "cutover_changes": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    path = record_document.record_path(options["state_dir"], options["migration_id"])

    def work() -> Mapping[str, object]:
        back, back_changed = _way_back(
            way_back.path_of(options["state_dir"], options["migration_id"]),
            options["dashboards_on"],
            options["cutover_changes"],
            not module.check_mode,
        )
        if not options["phase"] or options["result"].get("code") in record_document.REFUSALS:
            return {
                "changed": back_changed,
                "path": str(path),
                "record": record_document.load(path),
                "way_back": back,
            }
        entry = record_document.make_entry(options["host"], options["result"])
        after, before = record_document.add(
            path, options["migration_id"], options["database"], options["phase"], entry, not module.check_mode
        )
        diff = {"before": _text(before), "after": _text(after)}
        changed = after != before or back_changed
        return {"changed": changed, "path": str(path), "record": after, "way_back": back, "diff": diff}

    run(module, work)


class ShownWayBack(TypedDict):
    """Where the dashboards lead, and the changes that led there. packed: the changes, for the way back."""

    side: str | None
    changes: list[dict[str, str]]
    packed: str


def _way_back(path: Path, side: str | None, packed: list[str], write: bool) -> tuple[ShownWayBack, bool]:
    """The way back of the cutover as the module returns it, and whether it changed."""
    if side is None:
        after = before = way_back.load(path)
    else:
        changes = [change for some in packed for change in cutover_changes.unpack(some)]
        after, before = way_back.add(path, changes, side, write)
    known = after["changes"] if after else []
    found: ShownWayBack = {
        "side": after["side"] if after else None,
        "changes": [cutover_changes.shown(change) for change in known],
        "packed": cutover_changes.pack(known),
    }
    return found, after != before


def _text(document: Any) -> str:
    return json.dumps(document, indent=1, sort_keys=True) + "\n" if document else ""


if __name__ == "__main__":
    main()
