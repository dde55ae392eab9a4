#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive of a couch2pg database with evidence of what it must contain."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_dump
short_description: Dump a couch2pg database with evidence from the same snapshot
version_added: 0.1.0
description:
  - Runs C(pg_dump) in one snapshot of the database, and in parallel counts and digests every table in the same snapshot.
    Changes that couch2pg makes during the dump can neither cause a false alarm nor hide a loss.
  - The archive is a folder O(staging_dir)/O(migration_id) with the files of C(pg_dump), C(evidence.json) and C(manifest.json)
    (size and SHA-256 of every file). It gets this name only when it is complete and durable.
  - The database is only read.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.programs
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.limits
  - cht.couch2pg.leave_out
  - cht.couch2pg.record
options:
  staging_dir:
    description: Folder on the managed host for archives.
    type: path
    required: true
  format:
    description:
      - V(directory) is dumped and restored in parallel.
      - V(custom) is one file. V(tar) is a tar file compressed by gzip, as in the manual guide. Neither is dumped in parallel.
    type: str
    default: directory
    choices: [directory, custom, tar]
  compression:
    description: V(auto) (zstd if C(pg_dump) supports it, else gzip), V(none), or a method with its level such as V(gzip:6) or V(zstd:3).
    type: str
    default: auto
  jobs:
    description: Total number of workers of C(pg_dump) and the digests. Each uses a connection and about one core of the source.
    type: int
    default: 2
  digest_method:
    description:
      - V(auto) uses V(hash64) if the server supports it (PostgreSQL 11), else V(md5).
      - V(hash64), V(hash128) and V(md5) are exact; V(semantic) is fast but treats C(1.0) and C(1.00) in a document as equal.
    type: str
    default: auto
    choices: [auto, hash64, hash128, md5, semantic]
"""

EXAMPLES = r"""
- name: Dump the database on the source
  cht.couch2pg.pg_dump:
    database: cht
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    staging_dir: /srv/staging
    jobs: 4
    nice: 10
    rate_limit: 40 MB
"""

RETURN = r"""
archive:
  description: Folder of the archive.
  returned: when the dump is done
  type: str
  sample: /srv/staging/cht-2026
bytes:
  description: Bytes of all files of the archive.
  returned: when the dump is done
  type: int
  sample: 430000000
files:
  description: Number of files of the archive.
  returned: when the dump is done
  type: int
  sample: 31
seconds:
  description: Time the dump took, in seconds.
  returned: when the dump is done
  type: float
  sample: 61.5
rows:
  description: Rows of all tables in the snapshot.
  returned: when the dump is done
  type: int
  sample: 1500000
digest_method:
  description: The method of the digests.
  returned: when the dump is done
  type: str
  sample: hash64
tables:
  description: Rows and digest of every table in the snapshot.
  returned: when the dump is done
  type: list
  elements: dict
  sample: [{table: public.couchdb, rows: 1500000, digest: 0000000000000000000000000012ab34, bytes: 2500000000}]
left_out:
  description: Tables whose rows are not copied, and why.
  returned: when the dump is done
  type: list
  elements: dict
  sample: []
transfer_source:
  description:
    - What M(cht.couch2pg.transfer_info) would return of this archive as RV(cht.couch2pg.transfer_info#module:source), as it is now. So the
      transfer needs no call for that. It is not kept in the record.
    - Missing if this user can't find it out, or if the task had to wait for the job repeatedly, which returns only what the job keeps.
  returned: when the dump is done
  type: dict
  sample: {archive: /srv/staging/cht-2026, bytes: 430000000, files: 31, compressible: false, user: postgres, obstacles: []}
job:
  description: The job behind this result.
  returned: success
  type: dict
  contains:
    status:
      description: V(absent), V(running), V(done), V(failed) or V(dead).
      type: str
    folder:
      description: Folder of the job on the managed host, with its log.
      type: str
    started:
      description: Whether this task started it.
      type: bool
    progress:
      description: Its progress.
      type: dict
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import initial_limits, run_job
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import fail, make_module
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    JOB_OPTIONS,
    LEAVE_OUT_OPTIONS,
    LIMIT_OPTIONS,
    PROGRAM_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.record_option import RECORD_OPTION
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.pg_dump import FORMATS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.dump import job as dump_job
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import METHODS
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.leave_out import LeaveOut
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import source as transfer_source

OPTIONS: dict[str, Option] = {
    "staging_dir": {"type": "path", "required": True},
    "format": {"type": "str", "default": "directory", "choices": list(FORMATS)},
    "compression": {"type": "str", "default": "auto"},
    "jobs": {"type": "int", "default": 2},
    "digest_method": {"type": "str", "default": "auto", "choices": ["auto", *METHODS]},
}


def _for_transfer(archive: str, migration_id: str) -> Mapping[str, object]:
    """What the transfer needs to know of this host. Empty if that fails: the transfer then calls transfer_info, and reports the error."""
    try:
        return {"transfer_source": transfer_source.examine(archive, migration_id)}
    # KeyError: this user has no account. ValueError: a file of sshd is not text.
    except (MigrationError, OSError, KeyError, ValueError):
        return {}


def main() -> None:
    """Entry point."""
    module = make_module(
        CONNECTION_OPTIONS, PROGRAM_OPTIONS, JOB_OPTIONS, LIMIT_OPTIONS, LEAVE_OUT_OPTIONS, OPTIONS, RECORD_OPTION
    )
    options = module.params
    settings = connection_settings(module)
    try:
        known = dump_job.examine(
            settings,
            options["bin_dir"],
            options["format"],
            options["compression"],
            options["digest_method"],
            LeaveOut.of(options["leave_out"]),
        )
        spec = dump_job.job_spec(settings, options, known, initial_limits(module))
    except MigrationError as error:
        fail(module, error)
    archive = str(layout.archive_folder(options["staging_dir"], options["migration_id"]))
    run_job(
        module,
        spec,
        dump_job.still_valid,
        lambda: {"before": "", "after": f"archive: {archive}\n"},
        lambda: dump_job.refuse(options),
        lambda result: _for_transfer(result["archive"], options["migration_id"]),
    )


if __name__ == "__main__":
    main()
