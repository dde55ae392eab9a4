#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the queries of dashboards, and return digests instead of rows."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dashboard_query_info
short_description: Run the queries of dashboards, and return digests instead of rows
version_added: 0.1.0
description:
  - Runs each query in a read-only transaction, as the dashboard's role, with a time limit.
  - Returns columns, number of rows, and digests that P(cht.couch2pg.dashboard_comparison#filter) compares with those of the other
    side. The digests are keyed with O(key), so that nobody can find a value by guessing without that key. No row leaves the host.
  - Then runs the query again with C(EXPLAIN (ANALYZE)) to measure its time and read its plan. Conditions of the plan are not returned.
  - A query that fails is reported with the others, and doesn't fail the module.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
options:
  queries:
    description: The queries.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the query in results.
        type: str
        required: true
      sql:
        description: One query that returns rows.
        type: str
        required: true
      role:
        description: Role that runs the query; the login role must be able to become it. Empty means the login role itself.
        type: str
        default: ""
      ordered:
        description: Whether the order of its rows counts.
        type: bool
        default: false
      tolerance:
        description: Largest difference between two numbers that count as equal (accurate to a seventh of it). For at most 10,000 rows.
        type: float
        default: 0.0
      ignore_columns:
        description: Columns that may differ.
        type: list
        elements: str
        default: []
      newest:
        description: Column with a time, whose newest value shows how recent the result is. A time without a zone counts as UTC.
        type: str
        default: ""
      newest_within_hours:
        description: Maximum age of that value in hours.
        type: float
        default: 24.0
  key:
    description:
      - A secret, equal on both sides and new for every comparison. When it is empty, the module creates one, and the digests can't be
        compared.
    type: str
    default: ""
  timeout:
    description: Time limit of one run of a query, in seconds.
    type: float
    default: 300.0
  runs:
    description:
      - How many times to run each query to measure its time, which is the median. V(0) measures the first run only, without a plan.
    type: int
    default: 3
  candidates:
    description: How many of the most time-consuming queries to list from C(pg_stat_statements), without their constants.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Run a query of the dashboard
  cht.couch2pg.dashboard_query_info:
    database: cht
    key: "{{ one_time_secret }}"
    queries:
      - name: visits of the month
        sql: SELECT month, sum(reports) AS reports, max(month) AS newest FROM dashboard_visits GROUP BY month ORDER BY month
        role: superset
        ordered: true
        newest: newest
        newest_within_hours: 800
"""

RETURN = r"""
answers:
  description: The answer to each query, or its error.
  returned: success
  type: list
  elements: dict
  sample: [{name: visits of the month, error: null, columns: [{name: month, type: date}], milliseconds: 12.5, newest_age_hours: 3.5}]
candidates:
  description: The most time-consuming queries; null when the database lacks C(pg_stat_statements), or the server hasn't loaded it.
  returned: success
  type: list
  elements: dict
  sample: [{role: superset, query: "SELECT count(*) FROM form_metadata WHERE reported > $1", calls: 420, milliseconds: 81.5}]
"""

import secrets
from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import dashboard_query, statement_candidates
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session

QUERY: dict[str, Option] = {
    "name": {"type": "str", "required": True},
    "sql": {"type": "str", "required": True},
    "role": {"type": "str", "default": ""},
    "ordered": {"type": "bool", "default": False},
    "tolerance": {"type": "float", "default": 0.0},
    "ignore_columns": {"type": "list", "elements": "str", "default": []},
    "newest": {"type": "str", "default": ""},
    "newest_within_hours": {"type": "float", "default": 24.0},
}
OPTIONS: dict[str, Option] = {
    "queries": {"type": "list", "elements": "dict", "default": [], "options": QUERY},
    "key": {"type": "str", "default": "", "no_log": True},
    "timeout": {"type": "float", "default": 300.0},
    "runs": {"type": "int", "default": 3},
    "candidates": {"type": "int", "default": 0},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, OPTIONS)
    settings = connection_settings(module)
    options = module.params
    key = (options["key"] or secrets.token_hex(32)).encode()[:64]

    def work() -> Mapping[str, object]:
        with Session(settings) as session:
            limit = options["candidates"]
            candidates = statement_candidates.collect(session, limit) if limit > 0 else []
        queries = [
            dashboard_query.Query(**dict(query, ignore_columns=tuple(query["ignore_columns"])))
            for query in options["queries"]
        ]
        answers = [
            dashboard_query.answer(settings, query, key, options["timeout"], options["runs"]) for query in queries
        ]
        return {"changed": False, "answers": answers, "candidates": candidates}

    run(module, work)


if __name__ == "__main__":
    main()
