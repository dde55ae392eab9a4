#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an archive against its manifest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: archive_manifest
short_description: Check the files of an archive, or of any folder, against its manifest
version_added: 0.1.0
description:
  - Compares bytes and SHA-256 of every file in a folder with the C(manifest.json) there. Works for any folder, see O(state).
  - Fails and lists files that are missing, extra or different.
  - Memory use doesn't depend on the number and size of the files.
  - A successful check is not repeated as long as size and modification time of every file are unchanged.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
  - cht.couch2pg.job
  - cht.couch2pg.record
options:
  archive:
    description: Folder of the archive.
    type: path
    required: true
  state:
    description:
      - V(verified) compares with the manifest.
      - V(created) first writes a manifest if there is none, for a folder with files of another tool. It also lists where symbolic links
        lead. M(cht.couch2pg.pg_restore) and M(cht.couch2pg.verify) refuse such a folder, because it has no evidence of a database.
      - V(renewed) writes that manifest again when files have changed since. The manifest of a dump is never written again.
    type: str
    default: verified
    choices: [created, verified, renewed]
  full:
    description: Whether to hash every file again, even if none has changed since the last check.
    type: bool
    default: false
  jobs:
    description: Number of files to hash in parallel.
    type: int
    default: 2
"""

EXAMPLES = r"""
- name: Check that the archive is unchanged after the transfer
  cht.couch2pg.archive_manifest:
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration

- name: Write a manifest of any folder the first time, and find what has changed in it later
  cht.couch2pg.archive_manifest:
    archive: /srv/backups/etc
    state: created
    migration_id: backup-of-etc
    state_dir: ~/couch2pg-migration

- name: Accept what has changed there, and write the manifest again
  cht.couch2pg.archive_manifest:
    archive: /srv/backups/etc
    state: renewed
    migration_id: backup-of-etc
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
archive:
  description: Folder of the archive.
  returned: when the check is done
  type: str
  sample: /srv/staging/cht-2026
bytes:
  description: Bytes of all files.
  returned: when the check is done
  type: int
  sample: 430000000
files:
  description: Number of files.
  returned: when the check is done
  type: int
  sample: 31
manifest_sha256:
  description: SHA-256 of the manifest.
  returned: when the check is done
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
job:
  description: The job behind this result; see M(cht.couch2pg.pg_dump).
  returned: success
  type: dict
  sample: {status: done, started: true, folder: /var/lib/postgresql/couch2pg-migration/cht-2026/jobs/archive_check}
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.job_module import run_job
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import (
    make_module,
    migration_state,
    predict_or_fail,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import JOB_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.record_option import RECORD_OPTION
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import check as archive_check
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.record.dumped import dumped_archive

OPTIONS: dict[str, Option] = {
    "archive": {"type": "path", "required": True},
    "state": {"type": "str", "default": "verified", "choices": ["created", "verified", "renewed"]},
    "full": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 2},
}


def main() -> None:
    """Entry point."""
    module = make_module(JOB_OPTIONS, OPTIONS, RECORD_OPTION)
    options = module.params
    try:
        dumped = dumped_archive(migration_state(module))
        spec = archive_check.job_spec(options, dumped)
    except MigrationError as error:
        predict_or_fail(module, error)
    run_job(
        module,
        spec,
        lambda _result: archive_check.still_valid(options, dumped),
        lambda: {"before": "", "after": f"{options['archive']}: {options['state']}\n"},
    )


if __name__ == "__main__":
    main()
