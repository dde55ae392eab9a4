#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is ready for the migration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check whether a host is ready for the migration
version_added: 0.1.0
description:
  - Runs every check of one side and returns all findings by name, each V(ok), V(warning) or V(failure). It changes no data.
    On the target it uses a temporary table and the scratch database of O(schema), and removes both.
  - A finding doesn't fail the module; use RV(ready).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
  - cht.couch2pg.gate_server
  - cht.couch2pg.programs
  - cht.couch2pg.migration
  - cht.couch2pg.other_server
  - cht.couch2pg.leave_out
  - cht.couch2pg.server
options:
  side:
    description: Which side of the migration this host is.
    type: str
    required: true
    choices: [source, target]
  source:
    description: RV(facts) of the source, for the checks of the target that compare both.
    type: dict
    default: {}
  schema:
    description:
      - RV(schema) of the source, in the same run of C(ansible-playbook). The target restores it into a scratch database, reports every
        statement that fails, and drops the scratch database. Not done in check mode, or when the incoming database exists already.
      - The name of the scratch database begins with C(couch2pg_scratch_).
    type: str
    default: ""
  read_schema:
    description:
      - Whether the source's side also reads the schema of the database without rows, for O(schema) of the target.
      - Not done in check mode, with O(method=physical), or when a finding is a failure.
    type: bool
    default: false
  staging_dir:
    description: Folder on the managed host for archives.
    type: path
    required: true
  archive_here:
    description: Whether the archive is stored on the target; false if both hosts share the folder.
    type: bool
    default: true
  incoming:
    description: Name of the database to restore into; required on the target.
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
  encoding:
    description:
      - V(UTF8) lets a database in SQL_ASCII become a UTF8 database on the target. The source's side then reads every row, to check
        that all texts are valid UTF-8. Databases with another encoding keep it.
      - V(keep) refuses a database in SQL_ASCII.
    type: str
    default: keep
    choices: [keep, UTF8]
  digest_method:
    description: Method of the row digests.
    type: str
    default: auto
    choices: [auto, hash64, hash128, md5, semantic]
  replace_existing:
    description: Whether a database with the real name that is not empty may be renamed.
    type: bool
    default: false
  jobs:
    description: Number of workers on this host; each needs space for the temporary files of an index build.
    type: int
    default: 2
  limited:
    description: Whether the run sets a priority (C(nice), C(io_class)). Then it is a finding if the priority can't be set for the
      processes of the source's server.
    type: bool
    default: false
  rehearsal:
    description: Whether this is a rehearsal, which doesn't change the database with the real name on the target.
    type: bool
    default: false
  look_for_rehearsals:
    description: Whether the rehearsals of this migration on this host are a finding.
    type: bool
    default: false
  collations:
    description: With O(method=physical), whether indexes that are in another order of text are rebuilt, or the copy is refused.
    type: str
    default: rebuild
    choices: [rebuild, refuse]
  backup_compression:
    description: With O(method=physical), how the source compresses the files; see O(cht.couch2pg.pg_physical#module:compression).
    type: str
    default: none
  rule:
    description: How much disk space must be free; V(guide) is 3 times the database, as in the manual guide.
    type: str
    default: measured
    choices: [measured, guide]
"""

EXAMPLES = r"""
- name: Check the source
  cht.couch2pg.preflight:
    side: source
    read_schema: true
    database: cht
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    staging_dir: /srv/staging
  register: source

- name: Check the target
  cht.couch2pg.preflight:
    side: target
    source: "{{ source.facts }}"
    schema: "{{ source.schema }}"
    database: cht
    incoming: cht_incoming
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    staging_dir: /srv/staging
"""

RETURN = r"""
ready:
  description: Whether no finding is a failure.
  returned: always
  type: bool
  sample: true
findings:
  description: Every finding in the order of the checks.
  returned: always
  type: list
  elements: dict
  sample: [{name: connection, status: ok, message: connected, details: {}}]
facts:
  description: Facts about this server for the checks of the target.
  returned: always
  type: dict
  sample: {pg_dump_major: 17}
schema:
  description:
    - Path of a file on the controller with the schema, a custom archive of C(pg_dump) in base64. Ansible removes the file when it ends.
    - The schema is not in the result, because it may hold passwords, for example those of user mappings.
  returned: with O(read_schema=true), when it was read
  type: str
  sample: /home/ops/.ansible/tmp/ansible-local-4242x/schema_k3j
"""

from contextlib import suppress
from typing import Any, Mapping, cast

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    LEAVE_OUT_OPTIONS,
    MIGRATION_OPTIONS,
    OTHER_SERVER_OPTIONS,
    PROGRAM_OPTIONS,
    SERVER_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.pg_dump import FORMATS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import METHODS
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import schema_archive
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import source as preflight_source
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import target as preflight_target
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.options import Options
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.source_facts import SourceFacts
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight.target_facts import TargetFacts
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal import rehearsals

OPTIONS: dict[str, Option] = {
    "side": {"type": "str", "required": True, "choices": ["source", "target"]},
    "server": {"type": "dict", "options": CONNECTION_OPTIONS},
    "source": {"type": "dict", "default": {}},
    "schema": {"type": "str", "default": "", "no_log": True},
    "read_schema": {"type": "bool", "default": False},
    "staging_dir": {"type": "path", "required": True},
    "archive_here": {"type": "bool", "default": True},
    "incoming": {"type": "str", "default": ""},
    "format": {"type": "str", "default": "directory", "choices": list(FORMATS)},
    "compression": {"type": "str", "default": "auto"},
    "encoding": {"type": "str", "default": "keep", "choices": ["keep", "UTF8"]},
    "digest_method": {"type": "str", "default": "auto", "choices": ["auto", *METHODS]},
    "replace_existing": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 2},
    "limited": {"type": "bool", "default": False},
    "rehearsal": {"type": "bool", "default": False},
    "look_for_rehearsals": {"type": "bool", "default": False},
    "rule": {"type": "str", "default": "measured", "choices": ["measured", "guide"]},
    "collations": {"type": "str", "default": "rebuild", "choices": ["rebuild", "refuse"]},
    "backup_compression": {"type": "str", "default": "none"},
    **{name: SERVER_OPTIONS[name] for name in ("method", "commands")},
}


def main() -> None:
    """Entry point."""
    module = make_module(
        CONNECTION_OPTIONS,
        PROGRAM_OPTIONS,
        MIGRATION_OPTIONS,
        OTHER_SERVER_OPTIONS,
        LEAVE_OUT_OPTIONS,
        OPTIONS,
        required_if=[("side", "target", ["incoming"])],
    )
    settings = connection_settings(module)
    options: Options = cast("Options", dict(module.params, check_mode=module.check_mode))

    def work() -> Mapping[str, object]:
        schema: str | None = None
        facts: SourceFacts | TargetFacts
        if options["side"] == "source":
            findings, facts = preflight_source.examine(settings, options)
            if options["read_schema"]:
                schema = schema_archive.read(settings, findings, options, facts)
        else:
            findings, facts = preflight_target.examine(settings, options, options["source"])
        shown: list[Any] = list(findings.as_list())
        if options["look_for_rehearsals"] and not facts.get("promotion_stored"):
            # A damaged record of a rehearsal is no reason to stop the migration.
            with suppress(MigrationError, OSError):
                records, _problems = rehearsals.known(options["state_dir"], options["migration_id"])
                shown.append(rehearsals.finding(records, options["migration_id"]))
        result = {"changed": False, "ready": not findings.failed, "findings": shown, "facts": facts}
        return result if schema is None else dict(result, schema=schema)

    run(module, work)


if __name__ == "__main__":
    main()
