#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive into a database beside the real one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore
short_description: Restore a couch2pg archive beside the real database
version_added: 0.1.0
description:
  - Checks the archive against its manifest, creates the database O(incoming) with the source's encoding and locale, and restores
    the archive into it section by section. Counts and digests the tables while their indexes are built.
  - Owner, settings and grants come from an empty database O(database) if the operator has created one, else from the source.
  - Leaves out the data of materialized views; M(cht.couch2pg.matview_refresh) populates them in the right order.
  - Classifies every message of C(pg_restore); a message that is not known to be harmless fails the module.
  - M(cht.couch2pg.promote) later gives the database its real name.
  - Uses only session settings; the server's configuration is not changed.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.programs
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.other_server
  - cht.couch2pg.record
options:
  database:
    description: Real name of the database. It must not exist, or be empty, or O(replace_existing) must be set.
    type: str
    required: true
  archive:
    description: Folder of the archive, as M(cht.couch2pg.pg_dump) returned it.
    type: path
    required: true
  incoming:
    description: Name of the database to restore into. An existing database that this migration did not create is refused.
    type: str
    required: true
  replace_existing:
    description:
      - Whether a database O(database) that is not empty may be renamed when the restored one is promoted.
      - It is never dropped.
    type: bool
    default: false
  maintenance_work_mem:
    description: Memory for each index build, in PostgreSQL's notation.
    type: str
    default: 512MB
  jobs:
    description: Total number of workers of C(pg_restore) and the digests.
    type: int
    default: 2
"""

EXAMPLES = r"""
- name: Restore the archive beside the real database
  cht.couch2pg.pg_restore:
    database: cht
    incoming: cht_incoming
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    jobs: 4
"""

RETURN = r"""
incoming:
  description: Name of the database that was restored into.
  returned: when the restore is done
  type: str
  sample: cht_incoming
oid:
  description: Its oid, which doesn't change when it is renamed.
  returned: when the restore is done
  type: int
  sample: 16999
created_roles:
  description: Roles that the target lacked.
  returned: when the restore is done
  type: list
  elements: str
  sample: [superset]
properties:
  description: Properties of the restored database, such as its owner, settings and grants.
  returned: when the restore is done
  type: dict
  sample: {owner: couch2pg, settings: [work_mem=16MB], connection_limit: -1}
properties_differ:
  description: Properties that an empty database on the target changed, a phrase each.
  returned: when the restore is done
  type: list
  elements: str
  sample: ["owner 'postgres' (source: 'couch2pg')"]
at_promotion:
  description:
    - Properties that the database gets when it is promoted, because they would disturb the restore.
    - Settings such as C(default_transaction_read_only), and the connection limit (-1 for none).
  returned: when the restore is done
  type: dict
  sample: {connection_limit: -1, settings: ["default_transaction_read_only=on"], role_settings: {}}
moved_roles:
  description: The new name of each role that is renamed on the target; null for a role whose grants are revoked.
  returned: when the restore is done
  type: dict
  sample: {couch2pg: cht_app, klipfolio: null}
function_settings:
  description: Functions whose C(search_path) was set, with their settings.
  returned: when the restore is done
  type: dict
  sample: {"public.area_population(area text)": ["search_path=public, pg_temp"]}
function_search_path:
  description: The applied paths of the option O(function_search_path).
  returned: when the restore is done
  type: dict
  sample: {"public.area_population(text)": "public, pg_temp"}
settings_left_out:
  description: Settings of the source's database that the target's server refused.
  returned: when the restore is done
  type: list
  elements: str
  sample: [operator_precedence_warning=on]
rows:
  description: Rows of all tables.
  returned: when the restore is done
  type: int
  sample: 1500000
tables:
  description: Rows and digest of every table on the target.
  returned: when the restore is done
  type: list
  elements: dict
  sample: [{table: public.couchdb, rows: 1500000, digest: 0000000000000000000000000012ab34}]
harmless_messages:
  description: Messages of C(pg_restore) that are known to be harmless.
  returned: when the restore is done
  type: list
  elements: dict
  sample: []
seconds:
  description: Time the restore took, in seconds.
  returned: when the restore is done
  type: float
  sample: 75.0
section_seconds:
  description: Time of each section, in seconds.
  returned: when the restore is done
  type: dict
  sample: {pre-data: 0.3, data: 51.0, post-data: 20.1, analyze: 3.0}
job:
  description: The job behind this result; see M(cht.couch2pg.pg_dump).
  returned: success
  type: dict
  sample: {status: done, started: true, folder: /var/lib/postgresql/couch2pg-migration/cht-2026/jobs/restore}
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import run_job
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import (
    make_module,
    migration_state,
    predict_or_fail,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    JOB_OPTIONS,
    OTHER_SERVER_OPTIONS,
    PROGRAM_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.record_option import RECORD_OPTION
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import manifest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import expand
from ansible_collections.cht.couch2pg.plugins.module_utils.restore import job as restore_job

OPTIONS: dict[str, Option] = {
    "archive": {"type": "path", "required": True},
    "incoming": {"type": "str", "required": True},
    "replace_existing": {"type": "bool", "default": False},
    "maintenance_work_mem": {"type": "str", "default": "512MB"},
    "jobs": {"type": "int", "default": 2},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, PROGRAM_OPTIONS, JOB_OPTIONS, OTHER_SERVER_OPTIONS, OPTIONS, RECORD_OPTION)
    options = module.params
    settings = connection_settings(module)
    try:
        known = restore_job.examine(settings, options)
        if module.check_mode and known["manifest_sha256"] is None:
            manifest.load(expand(options["archive"]))
    except MigrationError as error:
        predict_or_fail(module, error)
    spec = restore_job.job_spec(settings, options, known)
    run_job(
        module,
        spec,
        lambda result: restore_job.still_valid(
            settings, options["function_search_path"], known["manifest_sha256"], migration_state(module), result
        ),
        lambda: {"before": "", "after": f"database: {options['incoming']}\n"},
        lambda: restore_job.refuse(settings, options),
    )


if __name__ == "__main__":
    main()
