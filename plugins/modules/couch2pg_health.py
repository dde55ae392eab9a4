#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch couch2pg after its start until it is healthy, or fails."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_health
short_description: Watch couch2pg until it is healthy
version_added: 0.1.0
description:
  - Runs on couch2pg's host after couch2pg was started. Connects to CouchDB and PostgreSQL with couch2pg's own settings and role.
  - Waits until couch2pg has completed its runs and has fetched everything that CouchDB had when the module started. A busy CouchDB
    changes all the time, so couch2pg counts as current when it has passed that mark.
  - Then every materialized view must exist and be populated, C(refresh_matviews()) must succeed as couch2pg's role, and the
    process must still be the one that was started. C(Run completed) in the log alone is not enough.
  - Fails at once when couch2pg has ended, was restarted, or can't continue, with the error and its remedy. Errors that couch2pg
    retries itself, such as an unreachable CouchDB, are shown, and the module keeps waiting.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.log
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.reach
options:
  settings_file:
    description: File on this host with couch2pg's settings, as M(cht.couch2pg.couch2pg_settings) wrote it.
    type: path
    required: true
  process:
    description:
      - The process that was started, as RV(cht.couch2pg.couch2pg_service#module:process) describes it. C(pid) is the number on this
        host, also for a container.
      - Without it and O(status_command), the module finds a restart only in the log.
    type: dict
  status_command:
    description:
      - A command that ends with code 0 while couch2pg runs. It is run while couch2pg is watched, if O(process) has no C(pid).
      - If it prints only numbers of processes, as C(pgrep) does, a change of the numbers shows a restart.
    type: list
    elements: str
    default: []
  matviews:
    description:
      - Materialized views that must exist, by C(schema.name) or by name.
      - Every existing materialized view must be populated, also when it is not listed.
    type: list
    elements: str
    default: []
  runs:
    description: How many runs must be complete since O(since).
    type: int
    default: 1
  timeout:
    description:
      - Seconds without progress (a completed run, or changes that arrived) after which the module fails.
      - The default is (O(runs) + 1) times C(COUCH2PG_SLEEP_MINS), plus one hour.
    type: float
  call_refresh:
    description: Whether to call C(refresh_matviews()) at the end.
    type: bool
    default: true
requirements:
  - psycopg2 (Debian and Ubuntu python3-psycopg2) on the managed host
notes:
  - A later call returns the same result, as long as the process is the same, its log shows no error since, and every materialized
    view is populated. Otherwise the module watches couch2pg again.
"""

EXAMPLES = r"""
- name: Note where the log ends
  cht.couch2pg.couch2pg_log_info:
    log:
      kind: journald
      unit: couch2pg
    position_only: true
  register: before

- name: Start couch2pg
  ansible.builtin.service:
    name: couch2pg
    state: started

- name: Wait until it is healthy
  cht.couch2pg.couch2pg_health:
    settings_file: ~/couch2pg-migration/cht/couch2pg.json
    log:
      kind: journald
      unit: couch2pg
    since: "{{ before.position }}"
    matviews: [contactview_metadata, form_metadata]
    migration_id: cht
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
runs_completed:
  description: Runs that completed since O(since).
  returned: when couch2pg is healthy
  type: int
  sample: 1
runs_errored:
  description: Runs that failed since O(since).
  returned: when couch2pg is healthy
  type: int
  sample: 0
changes:
  description: Changes that these runs processed.
  returned: when couch2pg is healthy
  type: int
  sample: 12
refreshes:
  description: Refreshes that couch2pg itself started.
  returned: when couch2pg is healthy
  type: int
  sample: 1
errors:
  description: Errors by kind, each with its first line (redacted), count, meaning, remedy, objects, and its first and last time.
  returned: when couch2pg is healthy
  type: list
  elements: dict
  sample: []
last_completed:
  description: When the last completed run ended, as couch2pg logged it.
  returned: when couch2pg is healthy
  type: str
  sample: "2026-11-23T20:54:10.182Z"
next_run:
  description: The time of the next run that couch2pg logged.
  returned: when couch2pg is healthy
  type: str
  sample: Mon Nov 23 2026 21:54:10 GMT+0000
sync:
  description: Each followed database, with the mark of CouchDB when the module started and the number of couch2pg's checkpoint.
  returned: when couch2pg is healthy
  type: list
  elements: dict
  sample: [{database: medic, key: couch.example.org/medic, mark: 1508, stored: 1512, behind: 0, current: true}]
matviews:
  description: Every materialized view.
  returned: when couch2pg is healthy
  type: list
  elements: dict
  sample: [{matview: public.contactview_metadata, populated: true}]
refresh:
  description: The call of C(refresh_matviews()) as couch2pg's role, with its seconds; null when it wasn't called, or doesn't exist.
  returned: when couch2pg is healthy
  type: dict
  sample: {role: couch2pg, seconds: 2.5}
process:
  description: The value of O(process).
  returned: when couch2pg is healthy
  type: dict
  sample: {pid: 1234, started_at: "2026-11-23T20:53:58Z", restarts: 0}
notices:
  description: Notices about a healthy couch2pg.
  returned: when couch2pg is healthy
  type: list
  elements: str
  sample: []
position:
  description: The position after the last line of the log that was read.
  returned: when couch2pg is healthy
  type: dict
  sample: {kind: journald, unit: couch2pg, cursor: "s=1f"}
checked_at:
  description: Time of the check.
  returned: when couch2pg is healthy
  type: str
  sample: "2026-11-23T20:54:30Z"
seconds:
  description: Duration in seconds.
  returned: when couch2pg is healthy
  type: float
  sample: 32.5
job:
  description: The job behind this result; see M(cht.couch2pg.pg_dump).
  returned: success
  type: dict
  sample: {kind: health, status: done, started: true, folder: /root/couch2pg-migration/cht-2026/jobs/health, progress: {}}
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import require_psycopg2
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import run_job
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import fail, make_module
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    JOB_OPTIONS,
    LOG_OPTIONS,
    REACH_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import health_job

OPTIONS: dict[str, Option] = {
    "settings_file": {"type": "path", "required": True},
    "process": {"type": "dict"},
    "status_command": {"type": "list", "elements": "str", "default": []},
    "matviews": {"type": "list", "elements": "str", "default": []},
    "runs": {"type": "int", "default": 1},
    "timeout": {"type": "float"},
    "call_refresh": {"type": "bool", "default": True},
}


def main() -> None:
    """Entry point."""
    module = make_module(JOB_OPTIONS, LOG_OPTIONS, REACH_OPTIONS, OPTIONS)
    require_psycopg2(module)
    options = module.params
    try:
        spec = health_job.job_spec(options)
    except MigrationError as error:
        fail(module, error)
    run_job(module, spec, lambda result: health_job.still_valid(options, result))


if __name__ == "__main__":
    main()
