#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where migrations stand, what their records permit, what they have left, and how they were rehearsed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: Show the status of migrations, what a record permits, what migrations have left, and rehearsals
version_added: 0.1.0
description:
  - Returns the finished phases, the running jobs with their progress, and the last errors, as far as they are stored on this host.
  - With O(needs), fails with everything that the record of the migration lacks; an altered record permits nothing. Then checks that the
    verified database has its real name on this server.
  - With O(staging_dir), lists what migrations have left - databases that a migration renamed, archives, and files with couch2pg's settings.
  - With O(rehearsals=true), lists the rehearsals of the migration whose records are on this host, compares the last two, and forecasts the
    duration of the migration. Names the rehearsal to run next, which is the last one if it has not ended, else a new one.
  - Starts nothing, changes nothing, and connects to a server only with O(needs) or O(staging_dir).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
options:
  migration_id:
    description: Name of the migration; without it, all migrations of the host. Required with O(needs) and O(rehearsals=true).
    type: str
  state_dir:
    description: Folder on the managed host for the state of migrations.
    type: path
    required: true
  database:
    description: Real name of the database. Required with O(needs) and O(staging_dir).
    type: str
    required: false
  needs:
    description:
      - What the record must prove. V(verified), the database is the same as the source's; V(promoted), it has its real name; V(healthy),
        couch2pg on the target was proven to be healthy; V(couch2pg_moved), this collection moved it; V(healthy_where_moved), if this
        collection moved it, it was proven to be healthy; V(dashboards_same), if queries of dashboards were compared, they are the same;
        V(cut_over), dashboards read the target; V(not_rolled_back), the migration was not rolled back.
    type: list
    elements: str
    choices: [verified, promoted, healthy, couch2pg_moved, healthy_where_moved, dashboards_same, cut_over, not_rolled_back]
  staging_dir:
    description: Folder for archives.
    type: path
  rehearsals:
    description: Whether the rehearsals of the migration are listed.
    type: bool
    default: false
  ending:
    description: With O(rehearsals=true), the outcome of the unfinished rehearsal, to list it as ended; without it, it is listed as
      unfinished.
    type: str
    choices: [done, abandoned]
"""

EXAMPLES = r"""
- name: Read the status
  cht.couch2pg.migration_info:
    state_dir: ~/couch2pg-migration
  register: known

- name: Show it
  ansible.builtin.debug:
    var: known.lines

- name: Check that the dashboards may be pointed at the target
  cht.couch2pg.migration_info:
    database: cht
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    needs: [verified, promoted, healthy, dashboards_same, not_rolled_back]

- name: List what is still there
  cht.couch2pg.migration_info:
    database: cht
    state_dir: ~/couch2pg-migration
    staging_dir: /srv/staging

- name: Read the rehearsals
  cht.couch2pg.migration_info:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    rehearsals: true
  register: known

- name: Show them
  ansible.builtin.debug:
    var: known.rehearsals.lines
"""

RETURN = r"""
migrations:
  description: Each migration with its phases, its jobs, whether it was promoted, and unreadable files.
  returned: success
  type: list
  elements: dict
  sample:
    - migration_id: cht-2026
      phases: {dump: {status: done, at: "2026-11-24T01:00:00Z", host: source, error: null}}
      jobs: []
      promoted: null
      problems: []
lines:
  description: The same as lines of text.
  returned: success
  type: list
  elements: str
  sample: ["Migration cht-2026", "  done     preflight, dump", "  running  restore: [2/4] data | 1.2 GB of 2.5 GB (48 %)"]
permission:
  description: What the record says that later phases rely on.
  returned: with O(needs)
  type: dict
  sample:
    database: cht
    source: {host: old.example.org, identity: "7712218066094472000", oid: 16385, archive: /srv/staging/cht}
    target: {host: new.example.org, identity: "7712218066094472355", oid: 16390, name: cht, kept_as: null, archive: /srv/staging/cht,
      running: "20261128140233123456"}
    manifest_sha256: 0fd1...
    handed_over: true
    rolled_back: null
    cleanup: {}
leftovers:
  description: What migrations have left on this host.
  returned: with O(staging_dir)
  type: dict
  contains:
    databases:
      description: Databases that were kept, with their bytes.
      type: list
      elements: dict
    archives:
      description: Archives, with their bytes, and whether they are complete.
      type: list
      elements: dict
    credential_files:
      description: Files with couch2pg's settings, credentials included.
      type: list
      elements: str
    lines:
      description: The same for a person.
      type: list
      elements: str
  sample:
    databases: [{database: cht_replaced_20261123T221530, bytes: 77850000}]
    archives: [{archive: /srv/staging/cht, bytes: 8720000, complete: true}]
    credential_files: []
    lines: ["database cht_replaced_20261123T221530, 77.9 MB", "archive /srv/staging/cht, 8.7 MB"]
rehearsals:
  description: The rehearsals of the migration.
  returned: with O(rehearsals=true)
  type: dict
  contains:
    summaries:
      description: Each rehearsal with its outcome, the seconds of each phase, rows and sizes, oldest first.
      type: list
      elements: dict
    next:
      description: The rehearsal to run next, whether it resumes an unfinished one, the method of that one, and what is done in it.
      type: dict
    comparison:
      description: What changed on the source between the last two verified rehearsals; null if there are fewer.
      type: dict
    forecast:
      description: The expected duration of the migration in seconds, and its longest phase; null before the first rehearsal.
      type: dict
    finding:
      description: The finding that preflight of the migration reports.
      type: dict
    problems:
      description: Messages about unreadable records.
      type: list
      elements: str
    lines:
      description: One line of text for each rehearsal.
      type: list
      elements: str
    conclusions:
      description: Sentences on the changes since the previous rehearsal and on the expected duration of the migration.
      type: list
      elements: str
  sample:
    summaries:
      - migration_id: cht-2026_rehearsal_20261126T010500
        method: archive
        outcome: done
        failed_in: null
        begun_at: "2026-11-26T01:05:00Z"
        host: new.example.org
        interrupted: false
        phases: {dump: 3600.0, transfer: 900.0, restore: 5400.0, refresh: 300.0, verify: 20.0}
        seconds: 10220.0
        rows: 15000000
        database_bytes: 200000000000
        archive_bytes: 30000000000
    next: {migration_id: cht-2026_rehearsal_20261127T010500, resumed: false, method: "", verified: false, handover_begun: false,
      handed_over: false}
    comparison: {with: cht-2026_rehearsal_20261126T010500, tables: 17, same: true, digests_compared: true, changed: []}
    forecast:
      {seconds: 10220.0, least: 10180.0, most: 10220.0, rehearsals: 2, method: archive, interrupted: false, dominant: restore,
       share: 0.53}
    finding: {name: rehearsal, status: ok, message: rehearsed 2 times, details: {}}
    problems: []
    lines: ["2026-11-26T01:05:00Z done: 2 h 50 min; 15000000 rows"]
    conclusions: ["The migration itself: about 2 h 50 min, and then the handover of couch2pg; restore takes 53% of it."]
"""

from typing import Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import leftovers
from ansible_collections.cht.couch2pg.plugins.module_utils.common import restart
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document
from ansible_collections.cht.couch2pg.plugins.module_utils.record import proof
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal import rehearsals
from ansible_collections.cht.couch2pg.plugins.module_utils.status import overview

OPTIONS: dict[str, Option] = {
    "migration_id": {"type": "str"},
    "state_dir": {"type": "path", "required": True},
    "database": {"type": "str"},
    "needs": {"type": "list", "elements": "str", "choices": list(proof.NEEDS)},
    "staging_dir": {"type": "path"},
    "rehearsals": {"type": "bool", "default": False},
    "ending": {"type": "str", "choices": list(rehearsals.OUTCOMES)},
}


def _permission(module: AnsibleModule) -> proof.Proof:
    state = migration_state(module)
    known = record_document.load(state / record_document.NAME)
    return proof.check(connection_settings(module), state, known, module.params["needs"])


def _leftovers(module: AnsibleModule) -> Mapping[str, object]:
    settings = connection_settings(module)
    with Session(settings.maintenance) as session:
        databases = leftovers.kept_databases(session, settings.database)
    found: leftovers.Leftovers = {
        "databases": databases,
        "archives": leftovers.archives(module.params["staging_dir"]),
        "credential_files": leftovers.credential_files(module.params["state_dir"]),
    }
    return dict(found, lines=leftovers.lines(found))


def main() -> None:
    """Entry point."""
    module = make_module(
        CONNECTION_OPTIONS,
        OPTIONS,
        required_by={"needs": ["database", "migration_id"], "staging_dir": ["database"]},
        required_if=[("rehearsals", True, ["migration_id"])],
    )
    options = module.params

    def work() -> Mapping[str, object]:
        found: dict[str, object] = {"changed": False}
        if options["needs"] is not None:
            found["permission"] = _permission(module)
        if options["staging_dir"] is not None:
            found["leftovers"] = _leftovers(module)
        if options["rehearsals"]:
            found["rehearsals"] = rehearsals.overview(options["state_dir"], options["migration_id"], options["ending"])
        names = [options["migration_id"]] if options["migration_id"] else overview.migration_ids(options["state_dir"])
        migrations = [overview.overview(options["state_dir"], name) for name in names]
        shown = [
            restart.of_migration(line, entry["migration_id"]) for entry in migrations for line in overview.lines(entry)
        ]
        if options["migration_id"] and not any(entry["phases"] or entry["jobs"] for entry in migrations):
            # The name may be misspelt.
            others = overview.migration_ids(options["state_dir"])
            shown += [f"  migrations on this host: {', '.join(others)}"] if others else []
        return dict(found, migrations=migrations, lines=shown or ["No migration is known on this host."])

    run(module, work)


if __name__ == "__main__":
    main()
