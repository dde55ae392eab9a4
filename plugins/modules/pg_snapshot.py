#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of the source that outlives the copy's connections."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_snapshot
short_description: Hold a snapshot of the source's database for a copy that can be resumed
version_added: 0.1.0
description:
  - Runs on the source's host. Starts a job that holds a snapshot of the database and a lock that protects its tables' definitions,
    or joins a job that already does. Other sessions read and write as before.
  - M(cht.couch2pg.pg_stream) copies the rows of this snapshot, and ends the job when it has all of them. Until then, an interrupted copy
    can be resumed.
  - While a snapshot is held, VACUUM can't remove rows that it still sees. So the job ends by itself when the snapshot is not used.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.migration
options:
  database:
    description: Name of the database.
    type: str
    required: true
  unused_minutes:
    description: The job ends when no session has used the snapshot for this many minutes.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Hold a snapshot on the source
  cht.couch2pg.pg_snapshot:
    database: cht
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
  delegate_to: old.example.org
  register: held

- name: Copy its rows
  cht.couch2pg.pg_stream:
    database: cht
    incoming: cht_incoming
    source: {database: cht, login_host: old.example.org}
    snapshot: "{{ held.snapshot }}"
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
snapshot:
  description: The snapshot, for the option of that name of M(cht.couch2pg.pg_stream).
  returned: unless in check mode
  type: dict
  sample: {identifier: 00000003-0000001B-1, backend: 4711}
held_since:
  description: Time when it was taken.
  returned: unless in check mode
  type: str
  sample: "2026-11-23T23:00:00Z"
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from ansible_collections.cht.couch2pg.plugins.module_utils.stream import holder

OPTIONS: dict[str, Option] = {"unused_minutes": {"type": "int", "default": 60}}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, MIGRATION_OPTIONS, OPTIONS)
    settings = connection_settings(module)
    options = module.params

    def work() -> Mapping[str, object]:
        folder = job.job_folder(options["state_dir"], options["migration_id"], holder.KIND)
        spec = holder.job_spec(settings, options["unused_minutes"])
        if module.check_mode:
            return {"changed": job.read_state(folder).status != "running"}
        held, started = holder.hold(folder, spec)
        return {
            "changed": started,
            "snapshot": {"identifier": held["identifier"], "backend": held["backend"]},
            "held_since": held["held_since"],
        }

    run(module, work)


if __name__ == "__main__":
    main()
