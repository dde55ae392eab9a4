#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsals of a migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_info
short_description: Tell which rehearsals a migration has had, and what they say
version_added: 0.1.0
description:
  - Lists the rehearsals whose records are on this host, holds the last two against each other, and tells how long the migration
    itself will take.
  - Names the rehearsal that a run goes on with, which is the last one as long as it has not ended, else a new one.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.migration
options:
  ending:
    description: How the unfinished one is about to end, to tell of it as if it had; without it, it is told of as unfinished.
    type: str
    choices: [done, abandoned]
"""

EXAMPLES = r"""
- name: See how the rehearsals went
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
  description: Each with its outcome, the seconds of each phase, rows and sizes, oldest first.
  returned: success
  type: list
  elements: dict
  sample:
    - migration_id: cht-2026_rehearsal_20261126T010500
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
  description: The rehearsal that a run works on, whether it goes on with one, and what of that is done.
  returned: success
  type: dict
  sample: {migration_id: cht-2026_rehearsal_20261127T010500, resumed: false, verified: false, handed_over: false}
comparison:
  description: What changed on the source between the last two that were verified; null when there are fewer.
  returned: success
  type: dict
  sample: {with: cht-2026_rehearsal_20261126T010500, tables: 17, same: true, digests_compared: true, changed: []}
forecast:
  description: How long the migration itself will take, in seconds, and which phase takes most of it; null before the first one.
  returned: success
  type: dict
  sample: {seconds: 10220.0, least: 10180.0, most: 10220.0, rehearsals: 2, interrupted: false, dominant: restore, share: 0.53}
finding:
  description: What preflight of the migration says about its rehearsals.
  returned: success
  type: dict
  sample: {name: rehearsal, status: ok, message: rehearsed 2 times, details: {}}
problems:
  description: Records that can't be read, in words.
  returned: success
  type: list
  elements: str
  sample: []
lines:
  description: A line for each rehearsal, for a person.
  returned: success
  type: list
  elements: str
  sample: ["2026-11-26T01:05:00Z done: 2 h 50 min; 15000000 rows"]
conclusions:
  description: What changed since the one before, and how long the migration itself will take, as sentences.
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
