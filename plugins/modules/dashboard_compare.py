#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers of two databases to the same queries, compared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dashboard_compare
short_description: Compare what two databases answered to the queries of dashboards
version_added: 0.1.0
description:
  - Compares answers of M(cht.couch2pg.dashboard_query_info), taken with the same key on two sides, and says for each query
    whether the results are the same, fresh, and about as fast.
  - Where the target is much slower, says why, as far as plans, indexes and statistics tell.
  - It needs no database, and sees no row. A difference doesn't fail it; see RV(passed).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
options:
  source:
    description: RV(cht.couch2pg.dashboard_query_info#module:answers) of the source.
    type: list
    elements: dict
    required: true
  target:
    description: RV(cht.couch2pg.dashboard_query_info#module:answers) of the target.
    type: list
    elements: dict
    required: true
  slow_ratio:
    description: How many times the source's time the target may take.
    type: float
    default: 3.0
  slow_milliseconds:
    description: A query that is slower by less than this is no matter.
    type: float
    default: 1000.0
"""

EXAMPLES = r"""
- name: Compare what both sides answered
  cht.couch2pg.dashboard_compare:
    source: "{{ source_run.answers }}"
    target: "{{ target_run.answers }}"
  register: dashboards
"""

RETURN = r"""
passed:
  description: Whether every query has the same result on both sides, and a fresh one. A slow one passes.
  returned: success
  type: bool
  sample: true
queries:
  description: Each query with its status (V(same), V(slow), V(stale), V(differs) or V(failed)), what is wrong, and advice.
  returned: success
  type: list
  elements: dict
  sample: [{name: visits of the month, status: same, problems: [], advice: []}]
lines:
  description: The same for a person.
  returned: success
  type: list
  elements: str
  sample: ["same     visits of the month: 24 rows; 12.5 ms on the source, 11.0 ms on the target"]
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import dashboard_compare

OPTIONS: dict[str, Any] = {
    "source": {"type": "list", "elements": "dict", "required": True},
    "target": {"type": "list", "elements": "dict", "required": True},
    "slow_ratio": {"type": "float", "default": 3.0},
    "slow_milliseconds": {"type": "float", "default": 1000.0},
}


def main() -> None:
    """Entry point."""
    module = make_module(OPTIONS)
    options = module.params

    def work() -> dict[str, Any]:
        compared = dashboard_compare.compare(
            options["source"], options["target"], options["slow_ratio"], options["slow_milliseconds"]
        )
        return dict(compared, changed=False, lines=dashboard_compare.lines(compared["queries"]))

    run(module, work)


if __name__ == "__main__":
    main()
