#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the source's whole server, recovered to the moment that the evidence shows."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_physical
short_description: Copy the source's whole server, with evidence of the moment that the copy shows
version_added: 0.1.0
description:
  - Runs on the target's host, which must reach the source's server. Makes a base backup of that server beside the data directory of
    the target's server, and recovers it to a restore point that shows the same rows as the snapshot in which every table of the source
    is counted and digested.
  - Afterwards, a server runs on the copy, which only its owner can reach. The target's own server is not touched.
  - The folder O(archive) gets the evidence and the archive of the schema, for M(cht.couch2pg.verify).
  - The source is only read. No replication slot remains there, and its WAL gets one record of a restore point.
  - An interrupted backup starts from the beginning. The steps after the backup are resumed.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.programs
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.limits
  - cht.couch2pg.source
options:
  database:
    description: Name of the database on both servers.
    type: str
    required: true
  server_bin_dir:
    description:
      - Folder on this host with the server programs of the source's major version.
      - Empty means those of the target's server, or where packages of PostgreSQL put that version.
    type: path
    default: ""
  lock_seconds:
    description:
      - With more than V(0), couch2pg's tables on the source are locked against writes for the moment of the restore point, and the module
        waits at most this many seconds for the lock. Needed where couch2pg writes without a pause.
    type: int
    default: 0
  compression:
    description:
      - How the source compresses the files that it sends. V(none), or from PostgreSQL 15 on V(server-zstd), V(server-lz4) or
        V(server-gzip), each also with a level, such as V(server-zstd:3). Useful on lines that are slower than about 1 Gbit/s.
    type: str
    default: none
  collations:
    description:
      - What to do if this host sorts text in another order than the source, because its C library or ICU has another version.
      - V(rebuild) rebuilds every index that depends on it; V(refuse) fails.
    type: str
    default: rebuild
    choices: [rebuild, refuse]
  jobs:
    description: Sessions that digest the source's tables at a time.
    type: int
    default: 2
  digest_method:
    description: How rows are digested; see M(cht.couch2pg.pg_dump).
    type: str
    default: auto
    choices: [auto, hash64, hash128, md5, semantic]
"""

EXAMPLES = r"""
- name: Copy the old server beside the new one
  cht.couch2pg.pg_physical:
    database: cht
    source: {database: cht, login_host: old.example.org, login_password: "{{ vault_source_password }}"}
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
  register: copied

- name: Verify it
  cht.couch2pg.verify:
    database: cht
    login_unix_socket: "{{ copied.login.login_unix_socket }}"
    login_port: "{{ copied.login.login_port }}"
    login_user: "{{ copied.login.login_user }}"
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
data_directory:
  description: The copy, a data directory of the target's major version.
  returned: when the copy is done
  type: str
  sample: /var/lib/postgresql/16/main_incoming_cht-2026
work_folder:
  description: Folder with everything that is needed until the copy is promoted.
  returned: when the copy is done
  type: str
  sample: /var/lib/postgresql/16/main_incoming_cht-2026_work
login:
  description: How the owner of the data directory logs in to the server on the copy, as options of modules.
  returned: when the copy is done
  type: dict
  sample: {login_unix_socket: /var/lib/postgresql/16/main_incoming_cht-2026_work/socket, login_port: 50432, login_user: postgres}
restore_point:
  description: Name and place in the WAL of the restore point, and the snapshot that shows the same.
  returned: when the copy is done
  type: dict
  sample: {name: cht_couch2pg_1795892400_1, lsn: 0/5000090, shows: "745:745:", running: []}
reindexed:
  description: Indexes that were rebuilt, because this host sorts text in another order, or because they are damaged on the source, too.
  returned: when the copy is done
  type: list
  elements: str
  sample: ["cht: public.couchdb_doc_uuid"]
oid:
  description: Oid of the database, the same as on the source.
  returned: when the copy is done
  type: int
  sample: 16999
rows:
  description: Rows of all tables on the source.
  returned: when the copy is done
  type: int
  sample: 1500000
seconds:
  description: Time of the last attempt, in seconds.
  returned: when the copy is done
  type: float
  sample: 75.0
section_seconds:
  description: Time of each part, in seconds.
  returned: when the copy is done
  type: dict
  sample: {backup: 14.3, evidence: 9.0, recovery: 2.1}
archive:
  description: Folder with the evidence and the archive of the schema.
  returned: when the copy is done
  type: str
  sample: /srv/staging/cht-2026
dump:
  description: What M(cht.couch2pg.pg_dump) returns of an archive, for the folder O(archive).
  returned: when the copy is done
  type: dict
  sample: {archive: /srv/staging/cht-2026, bytes: 120000, rows: 1500000, digest_method: hash64}
job:
  description: The job behind this result; see M(cht.couch2pg.pg_dump).
  returned: success
  type: dict
  sample: {status: done, started: true, folder: /var/lib/postgresql/couch2pg-migration/cht-2026/jobs/restore}
"""

from typing import Any, Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import (
    initial_limits,
    predict_job,
    run_job,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import fail, make_module, migration_state
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    JOB_OPTIONS,
    LIMIT_OPTIONS,
    PROGRAM_OPTIONS,
    SOURCE_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import METHODS
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import tunnel
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import job as physical_job
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings

OPTIONS: dict[str, Option] = {
    "server_bin_dir": {"type": "path", "default": ""},
    "lock_seconds": {"type": "int", "default": 0},
    "compression": {"type": "str", "default": "none"},
    "collations": {"type": "str", "default": "rebuild", "choices": ["rebuild", "refuse"]},
    "jobs": {"type": "int", "default": 2},
    "digest_method": {"type": "str", "default": "auto", "choices": ["auto", *METHODS]},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, PROGRAM_OPTIONS, JOB_OPTIONS, LIMIT_OPTIONS, SOURCE_OPTIONS, OPTIONS)
    options = module.params
    settings = connection_settings(module)
    source = ConnectionSettings.from_options(options["source"])

    def still_valid(result: Mapping[str, Any]) -> bool:
        return physical_job.still_valid(migration_state(module), result)

    def diff() -> dict[str, str]:
        return {"before": "", "after": f"data directory: a copy of the server at {source.place}\n"}

    try:
        if options["tunnel"] and module.check_mode:
            predict_job(module, "restore", still_valid, diff)
        folder = job.job_folder(options["state_dir"], options["migration_id"], "restore")
        with tunnel.to_source(source, folder, tunnel.parameters(options["tunnel"])) as reached:
            known = physical_job.examine(settings, reached, options)
        spec = physical_job.job_spec(settings, source, options, known, initial_limits(module))
    except MigrationError as error:
        fail(module, error)
    run_job(module, spec, still_valid, diff)


if __name__ == "__main__":
    main()
