#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell in few bytes which documents a database holds, and list those of a few buckets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: document_buckets_info
short_description: Tell which documents a database holds, in a digest for each bucket of them
version_added: 0.1.0
description:
  - Puts every document of C(couchdb), C(couchdb_users_meta), C(couchdb_medic_logs) and C(couchdb_medic_users) into a bucket by a
    hash of its C(_id), and makes a digest of C(_id) and C(_rev) of all the documents in each bucket.
  - So two databases that don't see each other are compared by a few kilobytes, on any two versions. What is in the buckets that
    differ is then listed with O(only).
  - Every table is read once, inside one snapshot, in which couch2pg's stored sequences are read, too.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.limits
options:
  side:
    description: Which of the two it is, so that both may be read at the same time on one host.
    type: str
    required: true
    choices: [source, target]
  buckets:
    description:
      - Number of buckets of each table, the same on both sides; a power of two from 4096 to 65536.
      - More of them make longer digests (11 bytes each) and shorter lists. One for every 20 to 100 documents is about right.
    type: int
    default: 16384
  only:
    description: The buckets to list, for each table, as P(cht.couch2pg.differing_buckets#filter) gives them. Empty means to digest all.
    type: dict
    default: {}
  most_documents:
    description: More documents than these are not listed; then something else is wrong, or more O(buckets) are needed.
    type: int
    default: 100000
  jobs:
    description: Workers. Each has a connection and loads about one core of the server.
    type: int
    default: 2
notes:
  - A call while the job of another one runs joins it. A call after it has ended reads anew.
  - In check mode the same work is done without a job, so that no file is written.
"""

EXAMPLES = r"""
- name: Digest the documents of this side
  cht.couch2pg.document_buckets_info:
    database: cht
    side: target
    migration_id: cht-2026
    state_dir: ~/couch2pg
  register: target

- name: List those in the buckets that differ
  cht.couch2pg.document_buckets_info:
    database: cht
    side: target
    only: "{{ source.packed | cht.couch2pg.differing_buckets(target.packed) }}"
    migration_id: cht-2026
    state_dir: ~/couch2pg
"""

RETURN = r"""
tables:
  description: Documents of each table.
  returned: when all were digested
  type: dict
  sample: {couchdb: 1500000, couchdb_users_meta: 4107}
packed:
  description: The digests, for P(cht.couch2pg.differing_buckets#filter).
  returned: when all were digested
  type: dict
  sample: {buckets: 4096, digests: {couchdb: eJzt0...}}
count:
  description: How many documents are listed.
  returned: with O(only)
  type: int
  sample: 366
documents:
  description: C(_id) and C(_rev) of the documents in the chosen buckets, compressed, for M(cht.couch2pg.couch2pg_reconcile).
  returned: with O(only)
  type: str
  sample: eJyLjlYqS8w
progress:
  description: couch2pg's stored sequences of the same moment, by key.
  returned: when the job is done
  type: dict
  sample: {couch.example.org/medic: 1508-g1AAAA}
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
  sample: {kind: reconcile-target, status: done, started: true, folder: /srv/state/cht/jobs/reconcile-target, progress: {}}
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import describe_job, initial_limits
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import connection_settings, make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    JOB_OPTIONS,
    LIMIT_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import document_job
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job

OPTIONS: dict[str, Any] = {
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

    def work() -> dict[str, Any]:
        spec = document_job.job_spec(settings, options, initial_limits(module))
        if module.check_mode:
            return dict(document_job.look(settings, spec.parameters), changed=False)
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
