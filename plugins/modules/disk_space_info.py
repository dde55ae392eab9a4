#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is room on every file system that a run will touch."""

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_space_info
short_description: Hold the disk space that a migration needs against what is free
version_added: 0.1.0
description:
  - Measures every file system that a run will touch on this host, each once even when several uses share it, and tells what is
    needed, free and left over there, in bytes and inodes.
  - On the source (O(side=source)) it looks at the database and samples its rows, to know how large the archive will be.
  - On the target (O(side=target)) it plans for the archive, data directory, tablespaces, WAL and temporary files, from what the source's
    RV(sizes) say. A server whose files can't be seen from this host is named in RV(unknown).
  - With O(needs) alone it needs no database at all.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
options:
  needs:
    description: Needs of your own, beside those that are found.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Folder or file, which need not exist yet.
        type: path
        required: true
      bytes:
        description: Bytes that will be written below it.
        type: int
        required: true
      use:
        description: What for. Two needs with one O(needs[].path) and one O(needs[].use) are the same bytes.
        type: str
        default: data
      files:
        description: Files that will be made below it.
        type: int
        default: 0
  side:
    description: Which side of the migration this host is. Without it only O(needs), or the guide's rule, count.
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
    description: Size of the database, where it is known. Then nothing is measured, and O(rule) must be V(guide).
    type: int
  rule:
    description: V(measured) is what this run needs, V(guide) 3 times the database, as the manual guide asks for.
    type: str
    default: measured
    choices: [measured, guide]
  migration_id:
    description: Name of the migration; what an earlier attempt left under it is not needed again. Without it O(database).
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
    description: Whether the target gets the archive onto a file system of its own; not so when both hosts see the same path.
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
    description: Whether the module fails when there is too little room.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: See that a folder has room for 20 GB
  cht.couch2pg.disk_space_info:
    needs:
      - {path: /srv/backups, bytes: 20000000000, use: nightly backup}

- name: See what a dump will need on the source
  cht.couch2pg.disk_space_info:
    side: source
    database: cht
    staging_dir: /srv/staging
  register: source

- name: See what the restore will need on the target
  cht.couch2pg.disk_space_info:
    side: target
    database: cht
    sizes: "{{ source.sizes }}"
    staging_dir: /srv/staging

- name: Ask for 3 times the database, as the manual guide does
  cht.couch2pg.disk_space_info:
    rule: guide
    database_bytes: 175000000000
    staging_dir: /srv/staging
"""

RETURN = r"""
ok:
  description: Whether there is room for everything that could be looked at.
  returned: always, unless the plan could not be made
  type: bool
  sample: true
file_systems:
  description: Every file system that is touched, once.
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
      description: Bytes needed, less what an earlier attempt has written already.
      type: int
    free:
      description: Bytes free for an ordinary user.
      type: int
    left_over:
      description: Bytes that will be free then; below 0 they are missing.
      type: int
    inodes_needed:
      description: Files that will be made.
      type: int
    inodes_free:
      description: Inodes free; null where the file system makes them as needed.
      type: int
    ok:
      description: Whether there is room.
      type: bool
  sample: [{mount_point: /, uses: [archive], needed: 500, free: 900, left_over: 400, inodes_needed: 30, inodes_free: 1000, ok: true}]
rule:
  description: The rule that was applied.
  returned: always, unless the plan could not be made
  type: str
  sample: measured
guide_bytes:
  description: What the manual guide would ask for (3 times the database); null where no database is known.
  returned: always, unless the plan could not be made
  type: int
  sample: 525000000000
unknown:
  description: Uses whose file system can't be seen from this host.
  returned: always, unless the plan could not be made
  type: list
  elements: str
  sample: []
unknown_reason:
  description: Why not.
  returned: always, unless the plan could not be made
  type: str
  sample: ""
sizes:
  description: What was measured in the source's database, for the target's side.
  returned: with O(side=source)
  type: dict
  sample: {database: 2500000000, tables: 2200000000, indexes: 200000000, archive: {compressed_bytes: 430000000}}
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import connection_settings, fail, make_module
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.pg_dump import FORMATS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import disk_plan

NEED: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "bytes": {"type": "int", "required": True},
    "use": {"type": "str", "default": "data"},
    "files": {"type": "int", "default": 0},
}
OPTIONS: dict[str, Any] = {
    "database": {"type": "str"},
    "needs": {"type": "list", "elements": "dict", "default": [], "options": NEED},
    "side": {"type": "str", "choices": ["source", "target"]},
    "sizes": {"type": "dict"},
    "database_bytes": {"type": "int"},
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
        report = _plan(module)
    except MigrationError as error:
        fail(module, error)
    places = report["file_systems"]
    report = dict(report, changed=False, ok=all(place["ok"] for place in places))
    if options["fail_when_short"]:
        for place in places:
            try:
                disk_plan.check(place)
            except MigrationError as error:
                fail(module, error, **report)
    module.exit_json(**report)


def _plan(module: Any) -> dict[str, Any]:
    options = module.params
    if options["database_bytes"] is not None or not options["side"]:
        return disk_plan.without_database(options)
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
            return disk_plan.examine(session, options)
    with Session(settings) as session:
        sizes = disk_plan.measure(session, list_tables(session))
        return dict(disk_plan.examine(session, dict(options, sizes=sizes)), sizes=sizes)


if __name__ == "__main__":
    main()
