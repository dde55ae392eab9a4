#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A couch2pg database from server to server, without an archive of its rows."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_stream
short_description: Copy a couch2pg database from server to server, with evidence from the same snapshot
version_added: 0.1.0
description:
  - Runs on the target's host, which must reach the source's server. Dumps everything but the rows of large tables, restores it into the
    database O(incoming), and copies the rows of large tables through parallel pipelines of C(COPY).
  - All rows come from one snapshot of the source. Meanwhile, every table of the source is counted and digested in that snapshot.
  - The folder O(archive) gets the evidence and the archive of the schema, for M(cht.couch2pg.verify). It holds no rows of large tables.
  - The source is only read. On the target, nothing has the real name until M(cht.couch2pg.promote) renames the database.
  - A copy that was interrupted is resumed while a job on the source holds its O(snapshot). Without that, all rows are copied again,
    because the snapshot ended with the copy. Indexes and what follows them are resumed in any case.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.programs
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.limits
  - cht.couch2pg.source
  - cht.couch2pg.other_server
  - cht.couch2pg.leave_out
options:
  database:
    description: Real name of the database on the target. It must not exist, or be empty, or O(replace_existing) must be set.
    type: str
    required: true
  snapshot:
    description:
      - What M(cht.couch2pg.pg_snapshot) returned. That job is ended when all rows are copied.
      - Without it, this module's job takes a snapshot of its own.
    type: dict
    suboptions:
      identifier:
        description: Identifier of the snapshot.
        type: str
        required: true
      backend:
        description: Process id of the session on the source's server that holds it.
        type: int
        required: true
  incoming:
    description: Name of the database that is filled. One that this migration did not make is refused.
    type: str
    required: true
  replace_existing:
    description:
      - Whether a database O(database) that is not empty may be renamed when the new one is promoted.
      - Nothing is ever dropped.
    type: bool
    default: false
  maintenance_work_mem:
    description: Memory for each index build, as PostgreSQL writes it.
    type: str
    default: 512MB
  jobs:
    description: Pipelines at a time; half as many sessions digest the source. Each loads about one core.
    type: int
    default: 2
  digest_method:
    description: How rows are digested; see M(cht.couch2pg.pg_dump).
    type: str
    default: auto
    choices: [auto, hash64, hash128, md5, semantic]
"""

EXAMPLES = r"""
- name: Copy the database from the old server into a database beside the real one
  cht.couch2pg.pg_stream:
    database: cht
    incoming: cht_incoming
    source: {database: cht, login_host: old.example.org, login_password: "{{ vault_source_password }}"}
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    jobs: 4
"""

RETURN = r"""
incoming:
  description: Name of the database that was restored into.
  returned: when the copy is done
  type: str
  sample: cht_incoming
oid:
  description: Its oid, which stays the same when it is renamed.
  returned: when the copy is done
  type: int
  sample: 16999
created_roles:
  description: Roles that the target lacked.
  returned: when the copy is done
  type: list
  elements: str
  sample: [superset]
at_promotion:
  description:
    - Properties that the database gets when it is promoted, because they would disturb the copy.
    - Settings such as C(default_transaction_read_only), and the connection limit (-1 for none).
  returned: when the copy is done
  type: dict
  sample: {connection_limit: -1, settings: ["default_transaction_read_only=on"], role_settings: {}}
moved_roles:
  description: The new name of each role that is renamed on the target; null for a role whose grants are revoked.
  returned: when the copy is done
  type: dict
  sample: {couch2pg: cht_app, klipfolio: null}
function_settings:
  description: Functions that got a C(search_path), with their settings.
  returned: when the copy is done
  type: dict
  sample: {"public.area_population(area text)": ["search_path=public, pg_temp"]}
function_search_path:
  description: The paths that were given to functions by the option of that name.
  returned: when the copy is done
  type: dict
  sample: {"public.area_population(text)": "public, pg_temp"}
settings_left_out:
  description: Settings of the source's database that the target's server refused.
  returned: when the copy is done
  type: list
  elements: str
  sample: [operator_precedence_warning=on]
rows:
  description: Rows of all tables.
  returned: when the copy is done
  type: int
  sample: 1500000
tables:
  description: Rows and digest of every table, as found on the target.
  returned: when the copy is done
  type: list
  elements: dict
  sample: [{table: public.couchdb, rows: 1500000, digest: 0000000000000000000000000012ab34}]
harmless_messages:
  description: Messages of C(pg_restore) that are known to be harmless.
  returned: when the copy is done
  type: list
  elements: dict
  sample: []
resumed_chunks:
  description: Parts of tables that an earlier attempt had copied.
  returned: when rows were copied
  type: int
  sample: 0
seconds:
  description: Time the copy took, in seconds.
  returned: when the copy is done
  type: float
  sample: 75.0
section_seconds:
  description: Time of each section, in seconds.
  returned: when the copy is done
  type: dict
  sample: {pre-data: 0.3, data: 51.0, post-data: 20.1, analyze: 3.0}
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
    LEAVE_OUT_OPTIONS,
    LIMIT_OPTIONS,
    OTHER_SERVER_OPTIONS,
    PROGRAM_OPTIONS,
    SOURCE_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import METHODS
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import tunnel
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import container_server
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.restore import job as restore_job
from ansible_collections.cht.couch2pg.plugins.module_utils.stream import job as stream_job

OPTIONS: dict[str, Option] = {
    "snapshot": {
        "type": "dict",
        "options": {"identifier": {"type": "str", "required": True}, "backend": {"type": "int", "required": True}},
    },
    "incoming": {"type": "str", "required": True},
    "replace_existing": {"type": "bool", "default": False},
    "maintenance_work_mem": {"type": "str", "default": "512MB"},
    "jobs": {"type": "int", "default": 2},
    "digest_method": {"type": "str", "default": "auto", "choices": ["auto", *METHODS]},
}


def main() -> None:
    """Entry point."""
    module = make_module(
        CONNECTION_OPTIONS,
        PROGRAM_OPTIONS,
        JOB_OPTIONS,
        LIMIT_OPTIONS,
        OTHER_SERVER_OPTIONS,
        LEAVE_OUT_OPTIONS,
        SOURCE_OPTIONS,
        OPTIONS,
    )
    options = module.params
    settings = connection_settings(module)

    def still_valid(result: Mapping[str, Any]) -> bool:
        return restore_job.still_valid(settings, options["function_search_path"], None, migration_state(module), result)

    def diff() -> dict[str, str]:
        return {"before": "", "after": f"database: {options['incoming']}\n"}

    try:
        there = container_server.effective(options["source"])
        if there["login_password"]:
            # It may have come from the container.
            module.no_log_values.add(there["login_password"])
        source = ConnectionSettings.from_options(there)
        if options["tunnel"] and module.check_mode:
            restore_job.examine(settings, options)
            predict_job(module, "restore", still_valid, diff)
        folder = job.job_folder(options["state_dir"], options["migration_id"], "restore")
        with tunnel.to_source(source, folder, tunnel.parameters(options["tunnel"])) as reached:
            known = stream_job.examine(settings, reached, options)
        spec = stream_job.job_spec(settings, source, options, known, initial_limits(module))
    except MigrationError as error:
        fail(module, error)
    run_job(module, spec, still_valid, diff)


if __name__ == "__main__":
    main()
