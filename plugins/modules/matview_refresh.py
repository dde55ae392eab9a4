#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Materialized views, populated in the right order."""

from __future__ import annotations

DOCUMENTATION = r"""
module: matview_refresh
short_description: Refresh materialized views in dependency order
version_added: 0.1.0
description:
  - Refreshes every materialized view of the database after those that it reads, in parallel where the dependencies allow it.
  - Uses REFRESH without CONCURRENTLY, which can't populate an empty view.
  - Then tests C(refresh_matviews()) as its owner, which is couch2pg's role. First with emptied tables, in a transaction that is rolled
    back; with all rows only if that fails.
  - A failure reports the materialized view, PostgreSQL's message, and what to do.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.record
options:
  database:
    description: Name of the database. After its promotion, the module uses the real name.
    type: str
    required: true
  jobs:
    description: Number of materialized views to refresh in parallel.
    type: int
    default: 2
  maintenance_work_mem:
    description: Memory for each index build, in PostgreSQL's notation.
    type: str
    default: 512MB
  call_function:
    description:
      - Whether to call C(refresh_matviews()) at the end, if the database has it.
      - In a database that is not promoted yet, the call is tried on empty tables and undone, because the views have just been
        refreshed on all rows. Only when that fails, it is called on all rows.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Populate the materialized views
  cht.couch2pg.matview_refresh:
    database: cht_incoming
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
matviews:
  description: Every materialized view in the order of its refresh, with rows and seconds.
  returned: when the refresh is done
  type: list
  elements: dict
  sample: [{matview: public.contactview_metadata, rows: 20000, seconds: 1.2}]
not_populated:
  description:
    - Materialized views that have no data on the source and could not be refreshed, with the error and what to do.
    - They stay as on the source.
  returned: when the refresh is done
  type: list
  elements: dict
  sample: [{matview: public.over_ministry, error: could not connect to server "ministry"}]
function:
  description: The call of C(refresh_matviews()), with its role and seconds, and whether it was on empty tables; null if there is no
    such function.
  returned: when the refresh is done
  type: dict
  sample: {name: public.refresh_matviews(), role: couch2pg, without_rows: true, seconds: 0.2}
seconds:
  description: Total time in seconds.
  returned: when the refresh is done
  type: float
  sample: 8.1
job:
  description: The job behind this result; see M(cht.couch2pg.pg_dump).
  returned: success
  type: dict
  sample: {status: done, started: true, folder: /var/lib/postgresql/couch2pg-migration/cht-2026/jobs/refresh}
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import run_job
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import (
    make_module,
    migration_state,
    predict_or_fail,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS, JOB_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.record_option import RECORD_OPTION
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.record import promoted
from ansible_collections.cht.couch2pg.plugins.module_utils.refresh import job as refresh_job
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal import rehearsals

OPTIONS: dict[str, Option] = {
    "jobs": {"type": "int", "default": 2},
    "maintenance_work_mem": {"type": "str", "default": "512MB"},
    "call_function": {"type": "bool", "default": True},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, JOB_OPTIONS, OPTIONS, RECORD_OPTION)
    try:
        settings = promoted.current(connection_settings(module), migration_state(module))
        known = refresh_job.examine(settings, migration_state(module))
    except MigrationError as error:
        predict_or_fail(module, error)
    rehearsed, _problems = rehearsals.known(module.params["state_dir"], module.params["migration_id"])
    run_job(
        module,
        refresh_job.job_spec(settings, module.params, known, rehearsals.matview_seconds(rehearsed)),
        lambda result: refresh_job.still_valid(settings, known, result),
        lambda: {"before": "", "after": f"materialized views of {settings.database}: refreshed\n"},
    )


if __name__ == "__main__":
    main()
