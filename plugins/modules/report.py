#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write the report of a migration from its record
version_added: 0.1.0
description:
  - Writes a self-contained HTML file without scripts, the same as Markdown for a ticket, and a copy of the record as JSON, all with mode
    C(0600). Also returns the record in about ten lines.
  - "The report shows the verdict first, then what is left to do with its commands, the time of each phase, sizes, counts and digests of
    every table on both sides, archive files, materialized views, findings, couch2pg's health and the dashboards."
  - Only known fields are shown, and text is redacted of credentials and of everything that looks like a document or personal data.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
options:
  record:
    description: The record, as M(cht.couch2pg.record) returns it. Needed without O(removed).
    type: dict
  folder:
    description: Folder on the controller for the files C(<migration_id>.html), C(.md) and C(.json); created with mode 0700 if missing.
    type: str
    required: true
  places:
    description:
      - How commands reach PostgreSQL on each host, by inventory name.
      - The keys are V(host), V(port), V(user), V(socket), V(container) and V(become_user).
    type: dict
    default: {}
  state_dir:
    description: Folder on the hosts for the state of migrations, to say where logs are.
    type: str
    default: ~/couch2pg-migration
  removed:
    description: Write nothing, and remove the files of these migrations from O(folder).
    type: list
    elements: str
  record_place:
    description: The location of the record, as text.
    type: str
    default: ""
notes:
  - It runs on the controller; the host need not be reachable.
"""

EXAMPLES = r"""
- name: Write the report
  cht.couch2pg.report:
    record: "{{ read.record }}"
    folder: /home/me/couch2pg-records

- name: Remove the reports of dumps that are gone
  cht.couch2pg.report:
    removed: "{{ cleaned.dumps }}"
    folder: /home/me/couch2pg-records
"""

RETURN = r"""
html:
  description: The report.
  returned: success, without O(removed)
  type: str
  sample: /home/me/couch2pg-records/cht-2026.html
markdown:
  description: The same as Markdown.
  returned: success, without O(removed)
  type: str
  sample: /home/me/couch2pg-records/cht-2026.md
record_copy:
  description: A copy of the record.
  returned: success, without O(removed)
  type: str
  sample: /home/me/couch2pg-records/cht-2026.json
verdict:
  description: The verdict of the report.
  returned: success, without O(removed)
  type: str
  sample: DONE
summary:
  description: The record in about ten lines, with the places of the report and of the record.
  returned: success, without O(removed)
  type: list
  elements: str
  sample: ["Migration cht-2026: DONE. The database cht on new.example.org was complete and verified at 2026-11-28T14:23:01Z."]
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module


def main() -> None:
    """Entry point."""
    module = make_module(
        {
            "record": {"type": "dict"},
            "folder": {"type": "str", "required": True},
            "places": {"type": "dict", "default": {}},
            "state_dir": {"type": "str", "default": "~/couch2pg-migration"},
            "record_place": {"type": "str", "default": ""},
            "removed": {"type": "list", "elements": "str"},
        },
        required_one_of=[("record", "removed")],
    )
    module.fail_json(msg="report is the work of its action plugin on the controller; call it as a task.")


if __name__ == "__main__":
    main()
