#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg as it is now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_now_info
short_description: Tell whether couch2pg runs and is up to date with CouchDB at this moment
version_added: 0.1.0
description:
  - Asks CouchDB and PostgreSQL in couch2pg's own name. Nothing is taken from a log or a record.
  - Up to date means that everything that CouchDB has when the module starts has arrived in PostgreSQL.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.deployment
  - cht.couch2pg.reach
options:
  most_behind:
    description: Changes that may be missing all the same. A busy CouchDB is never still while couch2pg sleeps between two runs.
    type: int
    default: 0
  timeout:
    description: Seconds that a couch2pg which is behind has to catch up.
    type: float
    default: 60
  identity:
    description: The server that couch2pg must write to, by its system identifier; empty for any.
    type: str
    default: ""
  oid:
    description: The database that couch2pg must write to, by its oid; 0 for any.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Look at couch2pg
  cht.couch2pg.couch2pg_now_info:
    most_behind: 100
  register: now

- name: Stop where it isn't up to date
  ansible.builtin.assert:
    that: not now.problems
    fail_msg: "{{ now.problems | join('; ') }}"
"""

RETURN = r"""
found:
  description: Whether there is a couch2pg on this host. Without, only RV(problems) is returned beside.
  returned: success
  type: bool
  sample: true
running:
  description: Whether it runs.
  returned: when found
  type: bool
  sample: true
starts_itself:
  description: Whether it starts by itself when the host boots.
  returned: when found
  type: bool
  sample: true
behind:
  description: Changes that CouchDB has and PostgreSQL lacks.
  returned: when found
  type: int
  sample: 0
sync:
  description: Each followed database, with the number of its newest change and that of couch2pg's place.
  returned: when found
  type: list
  elements: dict
  sample: [{database: medic, key: couch.example.org/medic, mark: 1508, stored: 1508, behind: 0, current: true}]
unpopulated:
  description: Materialized views that are not populated.
  returned: when found
  type: list
  elements: str
  sample: []
database:
  description: The database that it writes to.
  returned: when found
  type: dict
  sample: {identity: "7712218066094472355", oid: 16390, name: cht}
problems:
  description: What is wrong, each as a clause that says what to do.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, require_psycopg2, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import DEPLOYMENT_OPTIONS, REACH_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import access as couch2pg_access
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import boot as deployment_boot
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import discovery
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import service as deployment_service
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.kinds import NONE
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import sync as handover_sync

OPTIONS: dict[str, Any] = {
    "most_behind": {"type": "int", "default": 0},
    "timeout": {"type": "float", "default": 60},
    "identity": {"type": "str", "default": ""},
    "oid": {"type": "int", "default": 0},
}


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, REACH_OPTIONS, OPTIONS)
    require_psycopg2(module)
    options = module.params

    def work() -> dict[str, Any]:
        deployment = discovery.find(options["deployment"])
        if deployment.kind == NONE:
            return {"changed": False, "found": False, "problems": ["there is no couch2pg on this host"]}
        settings = discovery.read(deployment).settings
        reach = couch2pg_access.Reach.of(options)
        database, client = couch2pg_access.connection(reach.postgres(settings)), reach.couchdb(settings)
        # Nothing catches up that doesn't run.
        patience = options["timeout"] if deployment_service.is_running(deployment) else 0
        found = handover_sync.look(settings, database, client, options["most_behind"], patience)
        running = deployment_service.is_running(deployment)
        problems = [] if running else ["it doesn't run. Start it; its log says why it ended"]
        if options["oid"] and not handover_sync.same_database(found["database"], options["identity"], options["oid"]):
            problems.append(
                f"it writes to another database than this migration's: {found['database']['name']!r} (oid {found['database']['oid']}) at "
                f"{database.place}. Correct where its settings lead"
            )
        return {
            "changed": False,
            "found": True,
            "running": running,
            "starts_itself": deployment_boot.starts_itself(deployment),
            **found,
            "problems": problems + found["problems"],
        }

    run(module, work)


if __name__ == "__main__":
    main()
