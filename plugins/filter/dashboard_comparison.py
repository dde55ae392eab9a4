# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the answers of two databases to the queries of dashboards, on the controller."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import dashboard_compare
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.dashboard_query import Answer

DOCUMENTATION = r"""
name: dashboard_comparison
short_description: Compare the answers of two databases to the queries of dashboards
version_added: 0.1.0
author: cht.couch2pg maintainers (@medic)
description:
  - Compares answers of M(cht.couch2pg.dashboard_query_info), taken with the same key on both servers. For each query it says whether
    the results are the same, recent, and about as fast.
  - For a query that is much slower on the target it says why, as far as plans, indexes and statistics show that.
  - The answers contain no row, and neither does the result. A difference is not an error; look at C(passed).
positional: target, slow_ratio, slow_milliseconds
options:
  _input:
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
    description: A query is slow when it takes more than this many times the source's time on the target.
    type: float
    default: 3.0
  slow_milliseconds:
    description: A query is slow only when it takes at least this much longer on the target.
    type: float
    default: 1000.0
"""

EXAMPLES = r"""
- name: Stop when a dashboard would show something else
  ansible.builtin.assert:
    that: compared.passed
    fail_msg: "{{ compared.problems | join(' ') }}"
  vars:
    compared: "{{ source_run.answers | cht.couch2pg.dashboard_comparison(target_run.answers) }}"
"""

RETURN = r"""
_value:
  description:
    - C(passed), whether each query has the same, recent result on both servers. A slow query passes.
    - C(queries), each query with its status (V(same), V(slow), V(stale), V(differs) or V(failed)), problems and advice.
    - C(problems), a sentence for each query that didn't pass.
    - C(lines), each query as text to show.
  type: dict
  sample:
    passed: true
    queries: [{name: visits of the month, status: same, problems: [], advice: []}]
    problems: []
    lines: ["same     visits of the month: 24 rows; 12.5 ms on the source, 11.0 ms on the target"]
"""


def dashboard_comparison(
    source: list[Answer],
    target: list[Answer],
    slow_ratio: float = 3.0,
    slow_milliseconds: float = 1000.0,
) -> dashboard_compare.Comparison:
    """Compare the answers of both sides."""
    try:
        return dashboard_compare.compare(source, target, float(slow_ratio), float(slow_milliseconds))
    except MigrationError as error:
        raise AnsibleFilterError(error.message) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(
            "dashboard_comparison needs the answers of dashboard_query_info, of both servers."
        ) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"dashboard_comparison": dashboard_comparison}
