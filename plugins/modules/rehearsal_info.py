#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsals of a migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_info
short_description: List and compare the rehearsals of a migration
version_added: 0.1.0
description:
  - Lists the rehearsals whose records are on this host, compares the last two, and forecasts the duration of the migration.
  - Returns the rehearsal to run next, which is the last one if it has not ended, else a new one.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.migration
options:
  ending:
    description: The outcome of the unfinished rehearsal, to list it as ended; without it, it is listed as unfinished.
    type: str
    choices: [done, abandoned]
"""

EXAMPLES = r"""
- name: Read the rehearsals
  cht.couch2pg.rehearsal_info:
    migration_id: cht-2026
    state_dir: ~/couch2pg
  register: rehearsed

- name: Show it
  ansible.builtin.debug:
    var: rehearsed.lines
"""

RETURN = r"""
rehearsals:
  description: Each rehearsal with its outcome, the seconds of each phase, rows and sizes, oldest first.
  returned: success
  type: list
  elements: dict
  sample:
    - migration_id: cht-2026_rehearsal_20261126T010500
      method: archive
      outcome: done
      failed_in: null
      begun_at: "2026-11-26T01:05:00Z"
      host: new.example.org
      interrupted: false
      phases: {dump: 3600.0, transfer: 900.0, restore: 5400.0, refresh: 300.0, verify: 20.0}
      seconds: 10220.0
      rows: 15000000
      database_bytes: 200000000000
      archive_bytes: 30000000000
next:
  description: The rehearsal to run next, whether it resumes an unfinished one, the method of that one, and what is done in it.
  returned: success
  type: dict
  sample: {migration_id: cht-2026_rehearsal_20261127T010500, resumed: false, method: "", verified: false, handed_over: false}
comparison:
  description: What changed on the source between the last two verified rehearsals; null if there are fewer.
  returned: success
  type: dict
  sample: {with: cht-2026_rehearsal_20261126T010500, tables: 17, same: true, digests_compared: true, changed: []}
forecast:
  description: The expected duration of the migration in seconds, and its longest phase; null before the first rehearsal.
  returned: success
  type: dict
  sample:
    {seconds: 10220.0, least: 10180.0, most: 10220.0, rehearsals: 2, method: archive, interrupted: false, dominant: restore,
     share: 0.53}
finding:
  description: The finding that preflight of the migration reports.
  returned: success
  type: dict
  sample: {name: rehearsal, status: ok, message: rehearsed 2 times, details: {}}
problems:
  description: Messages about unreadable records.
  returned: success
  type: list
  elements: str
  sample: []
lines:
  description: One line of text for each rehearsal.
  returned: success
  type: list
  elements: str
  sample: ["2026-11-26T01:05:00Z done: 2 h 50 min; 15000000 rows"]
conclusions:
  description: Sentences on the changes since the previous rehearsal and on the expected duration of the migration.
  returned: success
  type: list
  elements: str
  sample: ["The migration itself: about 2 h 50 min, and then the handover of couch2pg; restore takes 53% of it."]
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal import rehearsals


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, {"ending": {"type": "str", "choices": list(rehearsals.OUTCOMES)}})
    migration_id = module.params["migration_id"]

    def work() -> dict[str, Any]:
        records, problems = rehearsals.known(module.params["state_dir"], migration_id)
        begun = rehearsals.unfinished(records)
        if module.params["ending"]:
            records = rehearsals.ended(records, module.params["ending"])
        summaries = [rehearsals.summary(entry) for entry in records]
        return {
            "changed": False,
            "rehearsals": summaries,
            "next": {
                "migration_id": rehearsals.new_id(migration_id) if begun is None else begun["migration_id"],
                "resumed": begun is not None,
                "method": "" if begun is None else rehearsals.method(begun),
                "verified": begun is not None and rehearsals.is_verified(begun),
                "handed_over": begun is not None and rehearsals.is_handed_over(begun),
            },
            "comparison": rehearsals.last_comparison(records),
            "forecast": rehearsals.forecast(summaries),
            "finding": rehearsals.finding(records, migration_id),
            "problems": problems,
            "lines": rehearsals.lines(records),
            "conclusions": rehearsals.conclusions(records),
        }

    run(module, work)


if __name__ == "__main__":
    main()
