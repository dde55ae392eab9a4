#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the restored database with the evidence of the source."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Verify that the restored database equals the source
version_added: 0.1.0
description:
  - Compares rows, content digests, large objects, sequences and materialized views of a database with the evidence in an archive.
  - Restores the archive's schema alone into a scratch database on the same server, has C(pg_dump) print the schemas of
    both databases, compares them object by object, and drops the scratch database.
  - Compares the objects in the archive's schema, with their owners and grants, with the objects of the source.
  - Compares owner, settings, grants, connection limit, comment, encoding and locale of the database.
  - Any difference fails the module, with what differs.
  - Rows of materialized views and versions of extensions are compared as information.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.programs
  - cht.couch2pg.record
options:
  database:
    description: Name of the database. After its promotion, the module uses the real name.
    type: str
    required: true
  archive:
    description: Folder of the archive with the evidence.
    type: path
    required: true
  accept_differences:
    description:
      - Differences of the schema to accept, each exactly as this module reported it.
      - They remain in the result. A difference of rows can't be accepted.
    type: list
    elements: str
    default: []
  recount:
    description: Whether to count and digest all tables again, even those that nothing wrote to since the restore digested them.
    type: bool
    default: false
  jobs:
    description: Workers for the digests.
    type: int
    default: 2
"""

EXAMPLES = r"""
- name: Verify that nothing was lost
  cht.couch2pg.verify:
    database: cht_incoming
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
oid:
  description: Oid of the database that was verified.
  returned: when the verification is done
  type: int
  sample: 16999
tables:
  description: Number of tables that were compared.
  returned: when the verification is done
  type: int
  sample: 12
rows:
  description: Rows of all tables.
  returned: when the verification is done
  type: int
  sample: 1500000
counted:
  description: V(while restoring) or V(now).
  returned: when the verification is done
  type: str
  sample: while restoring
counted_at:
  description: When the tables were read and compared.
  returned: when the verification is done
  type: str
  sample: "2026-11-28T14:22:36Z"
counted_again:
  description: Tables that were read again because something wrote to them since the restore.
  returned: when the verification is done
  type: list
  elements: str
  sample: []
verified_at:
  description: When everything was found the same. A later change prevents the promotion.
  returned: when the verification is done
  type: str
  sample: "2026-11-28T14:23:01Z"
objects:
  description: Number of objects of each kind that were compared.
  returned: when the verification is done
  type: dict
  sample: {tables: 12, views: 16, functions: 5}
accepted:
  description: Differences in O(accept_differences).
  returned: when the verification is done
  type: list
  elements: dict
  sample: []
notices:
  description: Sentences about materialized views that have rows on the source and none on the target.
  returned: when the verification is done
  type: list
  elements: str
  sample: []
information:
  description: Differences that are not errors.
  returned: when the verification is done
  type: list
  elements: dict
  sample: []
seconds:
  description: Time it took, in seconds.
  returned: when the verification is done
  type: float
  sample: 1.0
job:
  description: The job behind this result; see M(cht.couch2pg.pg_dump).
  returned: success
  type: dict
  sample: {status: done, started: true, folder: /var/lib/postgresql/couch2pg-migration/cht-2026/jobs/verify}
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
    PROGRAM_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.record_option import RECORD_OPTION
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.record import promoted
from ansible_collections.cht.couch2pg.plugins.module_utils.verify import job as verify_job

OPTIONS: dict[str, Option] = {
    "archive": {"type": "path", "required": True},
    "accept_differences": {"type": "list", "elements": "str", "default": []},
    "recount": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 2},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, PROGRAM_OPTIONS, JOB_OPTIONS, OPTIONS, RECORD_OPTION)
    options = module.params
    try:
        settings = promoted.current(connection_settings(module), migration_state(module))
        known = verify_job.examine(settings, options)
    except MigrationError as error:
        predict_or_fail(module, error)
    run_job(
        module,
        verify_job.job_spec(settings, options, known),
        lambda result: verify_job.still_valid(settings, migration_state(module), known, options["recount"], result),
        lambda: {"before": "", "after": f"evidence of {settings.database}: compared\n"},
    )


if __name__ == "__main__":
    main()
