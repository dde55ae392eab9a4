#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: record
short_description: Add to, or read, the record of a migration
version_added: 0.1.0
description:
  - The record is one JSON document for each migration, C(<state_dir>/<migration_id>/record.json) on the host where it lives (the target).
  - Every phase adds what it did, saw and measured. A phase that says what it said before changes nothing.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  database:
    description: Name of the database, for a record that is new.
    type: str
    default: ""
  phase:
    description: The phase that adds to the record; without one, the record is only read.
    type: str
    choices: [preflight, dump, transfer, restore, refresh, verify, promote, handover, dashboards, cutover, rollback, cleanup, rehearse]
  host:
    description: Inventory name of the host where the phase ran.
    type: str
    default: ""
  result:
    description: The registered result of the phase, as it is. What Ansible adds to results is left out.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write down what the dump did
  cht.couch2pg.record:
    migration_id: cht-2026
    state_dir: ~/couch2pg
    phase: dump
    host: "{{ inventory_hostname }}"
    result: "{{ dump_result }}"

- name: Read the record
  cht.couch2pg.record:
    migration_id: cht-2026
    state_dir: ~/couch2pg
"""

RETURN = r"""
path:
  description: The file of the record.
  returned: success
  type: str
  sample: /home/postgres/couch2pg/cht-2026/record.json
record:
  description: The record; null when there is none yet.
  returned: success
  type: dict
  sample: {format: 1, migration_id: cht-2026, database: cht, phases: {}}
"""

import json
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document

OPTIONS = {
    "database": {"type": "str", "default": ""},
    "phase": {"type": "str", "choices": list(record_document.PHASES)},
    "host": {"type": "str", "default": ""},
    "result": {"type": "dict", "default": {}},
}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    path = record_document.record_path(options["state_dir"], options["migration_id"])

    def work() -> dict[str, Any]:
        if not options["phase"]:
            return {"changed": False, "path": str(path), "record": record_document.load(path)}
        entry = record_document.make_entry(options["host"], options["result"])
        after, before = record_document.add(
            path, options["migration_id"], options["database"], options["phase"], entry, not module.check_mode
        )
        diff = {"before": _text(before), "after": _text(after)}
        return {"changed": after != before, "path": str(path), "record": after, "diff": diff}

    run(module, work)


def _text(document: Any) -> str:
    return json.dumps(document, indent=1, sort_keys=True) + "\n" if document else ""


if __name__ == "__main__":
    main()
