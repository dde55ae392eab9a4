#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digest the documents of a database in buckets, or list the documents of some buckets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: document_digest
short_description: Digest the documents of a database, to compare two databases
version_added: 0.1.0
description:
  - Assigns every document of C(couchdb), C(couchdb_users_meta), C(couchdb_medic_logs) and C(couchdb_medic_users) to a bucket by a
    hash of its C(_id), and digests C(_id) and C(_rev) of all documents in each bucket.
  - A few kilobytes are then enough to compare two databases that can't reach each other, on any two versions of PostgreSQL. With
    O(only), the module lists the documents in the buckets that differ.
  - Reads every table once, inside one snapshot, together with couch2pg's checkpoints.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.limits
options:
  side:
    description: Which of the two databases it is. Both may be on one host and be read at the same time.
    type: str
    required: true
    choices: [source, target]
  buckets:
    description:
      - Number of buckets of each table, equal on both sides; a power of two from 4096 to 65536.
      - More buckets make longer digests (11 bytes each) and shorter lists. One bucket for 20 to 100 documents is a good ratio.
    type: int
    default: 16384
  only:
    description: The buckets to list, by table, as P(cht.couch2pg.differing_buckets#filter) returns them. Empty means to digest all buckets.
    type: dict
    default: {}
  most_documents:
    description: Maximum number of documents to list. More differences have another cause, or need more O(buckets).
    type: int
    default: 100000
  jobs:
    description: Number of workers. Each has a connection and uses about one core of the server.
    type: int
    default: 2
notes:
  - Runs as a job of the kind C(reconcile-source) or C(reconcile-target), and reports no change. A call while this job runs joins it. A
    call after its end reads the documents again.
  - In check mode the module does the same work without a job, so that it writes no file.
"""

EXAMPLES = r"""
- name: Digest the documents of this side
  cht.couch2pg.document_digest:
    database: cht
    side: target
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
  register: target

- name: List the documents in the buckets that differ
  cht.couch2pg.document_digest:
    database: cht
    side: target
    only: "{{ source.packed | cht.couch2pg.differing_buckets(target.packed) }}"
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
tables:
  description: Number of documents of each table.
  returned: without O(only), when the job is done
  type: dict
  sample: {couchdb: 1500000, couchdb_users_meta: 4107}
packed:
  description: The digests, for P(cht.couch2pg.differing_buckets#filter).
  returned: without O(only), when the job is done
  type: dict
  sample: {buckets: 4096, digests: {couchdb: eJzt0...}}
count:
  description: Number of listed documents.
  returned: with O(only)
  type: int
  sample: 366
documents:
  description: C(_id) and C(_rev) of the documents in the chosen buckets, compressed, for M(cht.couch2pg.couch2pg_reconcile).
  returned: with O(only)
  type: str
  sample: eJyLjlYqS8w
progress:
  description: couch2pg's checkpoints in the same snapshot, by key.
  returned: when the job is done
  type: dict
  sample: {couch.example.org/medic: 1508-g1AAAA}
taken_at:
  description: Time of the snapshot.
  returned: when the job is done
  type: str
  sample: "2026-11-23T23:00:00Z"
seconds:
  description: Duration in seconds.
  returned: when the job is done
  type: float
  sample: 4.6
job:
  description: The job behind this result; see M(cht.couch2pg.pg_dump).
  returned: success, but not in check mode
  type: dict
  sample: {kind: reconcile-target, status: done, started: true,
    folder: /var/lib/postgresql/couch2pg-migration/cht-2026/jobs/reconcile-target, progress: {}}
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import describe_job, initial_limits
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    JOB_OPTIONS,
    LIMIT_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import document_job
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job

OPTIONS: dict[str, Option] = {
    "side": {"type": "str", "required": True, "choices": ["source", "target"]},
    "buckets": {"type": "int", "default": 16384},
    "only": {"type": "dict", "default": {}},
    "most_documents": {"type": "int", "default": 100000},
    "jobs": {"type": "int", "default": 2},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, JOB_OPTIONS, LIMIT_OPTIONS, OPTIONS)
    settings = connection_settings(module)
    options = module.params

    def work() -> Mapping[str, object]:
        spec = document_job.job_spec(settings, options, initial_limits(module))
        if module.check_mode:
            return dict(document_job.look(settings, spec.parameters), changed=False)
        folder = job.job_folder(options["state_dir"], options["migration_id"], spec.kind)
        # The result of a finished job is outdated.
        state = job.start_or_join(folder, spec, lambda _result: False)
        if state.status == "running":
            state = job.wait(folder, options["job_wait"], started=state.started)
        state.raise_if_failed()
        value = state.result["value"] if state.status == "done" else {}
        return dict(value, changed=False, job=describe_job(state, spec.kind))

    run(module, work)


if __name__ == "__main__":
    main()
