#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row counts and content digests of tables."""

from __future__ import annotations

DOCUMENTATION = r"""
module: table_digest_info
short_description: Count and digest the rows of tables inside one snapshot
version_added: 0.1.0
description:
  - Counts the rows of each table and computes a digest of their content, in parallel and inside one snapshot. Needs no primary key.
  - Two tables with equal rows have equal digests on any two servers, whatever the order of rows, physical layout or major version.
    A row that is lost, doubled or changed changes the digest.
  - Members of extensions and foreign tables are left out.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.limits
options:
  tables:
    description: Tables to digest, by C(schema.name) or just by name; C(couchdb) is always among them. Empty means all.
    type: list
    elements: str
    default: []
  digest_method:
    description:
      - V(auto) takes V(hash64) where the server has it (PostgreSQL 11), else V(md5). To compare two servers, use what the older one has.
      - V(hash64), V(hash128) and V(md5) are exact; V(semantic) is fast but takes C(1.0) and C(1.00) in a document for equal.
    type: str
    default: auto
    choices: [auto, hash64, hash128, md5, semantic]
  jobs:
    description: Number of workers. Each uses a connection and about one core of the server.
    type: int
    default: 2
notes:
  - A call joins the job if it is running. A call after its end starts a new one; M(cht.couch2pg.job_info) returns the last result.
  - In check mode the module does the same work without a job, so it writes no file.
"""

EXAMPLES = r"""
- name: Digest every table
  cht.couch2pg.table_digest_info:
    database: cht
    migration_id: cht-2026
    state_dir: ~/couch2pg
    jobs: 4
  register: digests

- name: Digest two of them, wider
  cht.couch2pg.table_digest_info:
    database: cht
    migration_id: cht-2026-logs
    state_dir: ~/couch2pg
    tables: [couchdb, couchdb_medic_logs]
    digest_method: hash128
"""

RETURN = r"""
tables:
  description: Rows and digest of every table, by name.
  returned: when the job is done
  type: list
  elements: dict
  sample: [{table: public.couchdb, rows: 1500000, digest: 0000000000000000000000000012ab34}]
rows:
  description: Rows of all tables.
  returned: when the job is done
  type: int
  sample: 1500000
left_out:
  description: Tables that were left out, and why.
  returned: when the job is done
  type: list
  elements: dict
  sample: [{table: public.elsewhere, reason: "a foreign table: its rows are on another server"}]
digest_method:
  description: The method of the digests; only digests of the same method can be compared.
  returned: when the job is done
  type: str
  sample: hash64
meaning:
  description: Which differences the method detects and which it doesn't.
  returned: when the job is done
  type: str
  sample: "PostgreSQL's 64-bit hash of each row's text: exact"
server_identity:
  description: System identifier of the server.
  returned: when the job is done
  type: str
  sample: "7711507270792592345"
taken_at:
  description: Time of the snapshot.
  returned: when the job is done
  type: str
  sample: "2026-11-23T23:00:00Z"
seconds:
  description: Time it took, in seconds.
  returned: when the job is done
  type: float
  sample: 4.6
job:
  description: The job behind this result; see M(cht.couch2pg.pg_dump).
  returned: success, but not in check mode
  type: dict
  sample: {kind: digest, status: done, started: true, folder: /srv/state/cht-2026/jobs/digest, progress: {}}
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import describe_job, initial_limits
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import connection_settings, make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    JOB_OPTIONS,
    LIMIT_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence import digest_job
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import METHODS
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job

OPTIONS: dict[str, Any] = {
    "tables": {"type": "list", "elements": "str", "default": []},
    "digest_method": {"type": "str", "default": "auto", "choices": ["auto", *METHODS]},
    "jobs": {"type": "int", "default": 2},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, JOB_OPTIONS, LIMIT_OPTIONS, OPTIONS)
    settings = connection_settings(module)
    options = module.params

    def work() -> dict[str, Any]:
        known = digest_job.examine(settings, options["tables"], options["digest_method"])
        if module.check_mode:
            found = digest_job.take(settings, options["tables"], known["method"], max(1, options["jobs"]))
            return dict(found, changed=False)
        spec = digest_job.job_spec(settings, options, known, initial_limits(module))
        folder = job.job_folder(options["state_dir"], options["migration_id"], spec.kind)
        # What a finished job found is the past.
        state = job.start_or_join(folder, spec, lambda _result: False)
        if state.status == "running":
            state = job.wait(folder, options["job_wait"], started=state.started)
        state.raise_if_failed()
        value = state.result["value"] if state.status == "done" else {}
        return dict(value, changed=False, job=describe_job(state, spec.kind))

    run(module, work)


if __name__ == "__main__":
    main()
