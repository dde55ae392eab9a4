#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is space on every file system that a run will touch."""

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_space_info
short_description: Compare the disk space that a migration needs with the free space
version_added: 0.1.0
description:
  - Returns the needed, free and remaining space, in bytes and inodes, of every file system that a migration uses on this host.
    Uses that share a file system are added up.
  - On the source (O(side=source)) it measures the database and samples its rows, to estimate the size of the archive.
  - On the target (O(side=target)) it plans for the archive, data directory, tablespaces, WAL and temporary files, based on the source's
    RV(sizes). Uses whose file system is not on this host are listed in RV(unknown).
  - With O(needs) alone it needs no database.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
options:
  needs:
    description: Your own needs, in addition to those that are found.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Folder or file, which need not exist yet.
        type: path
        required: true
      bytes:
        description: Bytes that will be written below it, as a number or such as V(20 GB).
        type: bytes
        required: true
      use:
        description: The purpose. Two needs with the same O(needs[].path) and O(needs[].use) count once.
        type: str
        default: data
      files:
        description: Number of files that will be created below it.
        type: int
        default: 0
  side:
    description: Which side of the migration this host is. Without it, only O(needs) or the guide's rule are used.
    type: str
    choices: [source, target]
  database:
    description: Name of the database; needed with O(side), unless O(database_bytes) is given.
    type: str
    required: false
  sizes:
    description: RV(sizes) of the source; needed with O(side=target), unless O(database_bytes) is given.
    type: dict
  database_bytes:
    description: Size of the database, such as V(160 GB), if it is known. Nothing is measured then, and O(rule) must be V(guide).
    type: bytes
  rule:
    description: V(measured) is what this migration needs; V(guide) is 3 times the database, as in the manual guide.
    type: str
    default: measured
    choices: [measured, guide]
  migration_id:
    description: Name of the migration. Space that an earlier attempt of it uses is not counted again. Defaults to O(database).
    type: str
  state_dir:
    description: Folder on the managed host for the state of migrations.
    type: path
    default: ~/couch2pg-migration
  staging_dir:
    description: Folder on the managed host for archives. Empty means C(archives) in O(state_dir).
    type: path
    default: ""
  archive_here:
    description: Whether the archive is stored on the target; false if both hosts share the folder.
    type: bool
    default: true
  incoming:
    description: Name of the database that is restored into. Empty means O(database) with C(_incoming).
    type: str
    default: ""
  format:
    description: Format of the archive.
    type: str
    default: directory
    choices: [directory, custom, tar]
  compression:
    description: Compression of the archive.
    type: str
    default: auto
  jobs:
    description: Workers of the restore; each may build an index at the same time.
    type: int
    default: 2
  fail_when_short:
    description: Whether the module fails if there is not enough space.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Check that a folder has space for 20 GB
  cht.couch2pg.disk_space_info:
    needs:
      - {path: /srv/backups, bytes: 20 GB, use: nightly backup}

- name: Check the space for the dump on the source
  cht.couch2pg.disk_space_info:
    side: source
    database: cht
    staging_dir: /srv/staging
  register: source

- name: Check the space for the restore on the target
  cht.couch2pg.disk_space_info:
    side: target
    database: cht
    sizes: "{{ source.sizes }}"
    staging_dir: /srv/staging

- name: Require 3 times the database, as the manual guide does
  cht.couch2pg.disk_space_info:
    rule: guide
    database_bytes: 160 GB
    staging_dir: /srv/staging
"""

RETURN = r"""
ok:
  description: Whether there is enough space on every file system that could be checked.
  returned: always, unless the plan could not be made
  type: bool
  sample: true
file_systems:
  description: Every file system that is used.
  returned: always, unless the plan could not be made
  type: list
  elements: dict
  contains:
    mount_point:
      description: Where it is mounted.
      type: str
    uses:
      description: What it is needed for.
      type: list
      elements: str
    needs:
      description: Use, path and bytes of each need.
      type: list
      elements: dict
    needed:
      description: Bytes needed, without those that an earlier attempt has written.
      type: int
    free:
      description: Bytes free for an ordinary user.
      type: int
    left_over:
      description: Bytes that will remain free; negative if space is missing.
      type: int
    inodes_needed:
      description: Files that will be created.
      type: int
    inodes_free:
      description: Inodes free; null if the file system allocates them on demand.
      type: int
    ok:
      description: Whether there is enough space.
      type: bool
  sample: [{mount_point: /, uses: [archive], needed: 500, free: 900, left_over: 400, inodes_needed: 30, inodes_free: 1000, ok: true}]
rule:
  description: The rule that was applied.
  returned: always, unless the plan could not be made
  type: str
  sample: measured
guide_bytes:
  description: What the manual guide requires (3 times the database); null without a database.
  returned: always, unless the plan could not be made
  type: int
  sample: 525000000000
unknown:
  description: Uses whose file system is not on this host.
  returned: always, unless the plan could not be made
  type: list
  elements: str
  sample: []
unknown_reason:
  description: Why the free space is unknown; empty when it is known.
  returned: always, unless the plan could not be made
  type: str
  sample: ""
sizes:
  description: The sizes measured in the source's database, for the target.
  returned: with O(side=source)
  type: dict
  sample: {database: 2500000000, tables: 2200000000, indexes: 200000000, archive: {compressed_bytes: 430000000}}
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.masking import with_names
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import fail, make_module
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.pg_dump import FORMATS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import disk_plan
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.disk_plan import DiskPlan
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.sizes import Sizes

NEED: dict[str, Option] = {
    "path": {"type": "path", "required": True},
    "bytes": {"type": "bytes", "required": True},
    "use": {"type": "str", "default": "data"},
    "files": {"type": "int", "default": 0},
}
OPTIONS: dict[str, Option] = {
    "database": {"type": "str"},
    "needs": {"type": "list", "elements": "dict", "default": [], "options": NEED},
    "side": {"type": "str", "choices": ["source", "target"]},
    "sizes": {"type": "dict"},
    "database_bytes": {"type": "bytes"},
    "rule": {"type": "str", "default": "measured", "choices": list(disk_plan.RULES)},
    "migration_id": {"type": "str"},
    "state_dir": {"type": "path", "default": "~/couch2pg-migration"},
    "staging_dir": {"type": "path", "default": ""},
    "archive_here": {"type": "bool", "default": True},
    "incoming": {"type": "str", "default": ""},
    "format": {"type": "str", "default": "directory", "choices": list(FORMATS)},
    "compression": {"type": "str", "default": "auto"},
    "jobs": {"type": "int", "default": 2},
    "fail_when_short": {"type": "bool", "default": True},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, OPTIONS)
    options = module.params
    options["staging_dir"] = options["staging_dir"] or f"{options['state_dir']}/archives"
    try:
        report, measured = _plan(module)
    except MigrationError as error:
        fail(module, error)
    places = report["file_systems"]
    result: dict[str, Any] = dict(report, **measured, changed=False, ok=all(place["ok"] for place in places))
    if options["fail_when_short"]:
        for place in places:
            try:
                disk_plan.check(place)
            except MigrationError as error:
                fail(module, error, **result)
    module.exit_json(**with_names(module, result))


def _plan(module: Any) -> tuple[DiskPlan, dict[str, Sizes]]:
    """The plan, and on the source the sizes that were measured, for the result."""
    options = module.params
    given = [disk_plan.Need(**need) for need in options["needs"]]
    if options["database_bytes"] is not None or not options["side"]:
        return disk_plan.without_database(options, options["side"] or "source", options["database_bytes"], given), {}
    if not options["database"]:
        raise MigrationError(f"With side {options['side']!r}, database must be given too.", "option_missing")
    options["migration_id"] = options["migration_id"] or options["database"]
    options["incoming"] = options["incoming"] or f"{options['database']}_incoming"
    settings = connection_settings(module)
    if options["side"] == "target":
        if not options["sizes"]:
            raise MigrationError(
                "On the target, give sizes: those that this module found on the source.", "option_missing"
            )
        with Session(settings.maintenance) as session:
            return disk_plan.examine(session, options, "target", options["sizes"], given=given), {}
    with Session(settings) as session:
        sizes = disk_plan.measure(session, list_tables(session))
        return disk_plan.examine(session, options, "source", sizes, given=given), {"sizes": sizes}


if __name__ == "__main__":
    main()
