#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's settings, taken from its deployment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_capture
short_description: Take couch2pg's settings from its deployment
version_added: 0.1.0
description:
  - Reads the environment that couch2pg is given by a systemd unit with its drop-ins and environment files, by Docker Compose as that
    resolves it, or by a file that a shell reads. Unknown variables are a part of it.
  - The deployment is only read. The settings are stored (0600) in C(<state_dir>/<migration_id>/couch2pg.json); what is returned
    shows no credentials.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.deployment
  - cht.couch2pg.migration
options:
  with_secrets:
    description: Return the settings as they are, too, for other modules. The task needs C(no_log).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Take the settings of the unit couch2pg, or of the container of couch2pg
  cht.couch2pg.couch2pg_capture:
    migration_id: cht-2026
    state_dir: ~/couch2pg

- name: Take them from a Compose project
  cht.couch2pg.couch2pg_capture:
    migration_id: cht-2026
    state_dir: ~/couch2pg
    deployment:
      kind: compose
      project_dir: /opt/couch2pg
      env_files: [couch2pg.env]
"""

RETURN = r"""
found:
  description: Whether there is a couch2pg on this host. Without one, only this and RV(deployment) say something.
  returned: success
  type: bool
  sample: true
deployment:
  description: The deployment as it was found, for the same option of other modules. Its C(log) is as module
    M(cht.couch2pg.couch2pg_log_info) takes it; empty where it isn't known.
  returned: success
  type: dict
  sample: {kind: systemd, unit: couch2pg, app_dir: /opt/couch2pg, log: {kind: journald, unit: couch2pg}}
settings_file:
  description: The file with the settings.
  returned: success
  type: str
  sample: /root/couch2pg/cht-2026/couch2pg.json
settings:
  description: The variables, with credentials masked.
  returned: success
  type: dict
  sample: {COUCHDB_URL: "https://medic:********@couch.example.org/medic", COUCH2PG_SLEEP_MINS: "60"}
settings_json:
  description: The settings as they are, for the option C(settings) of other modules.
  returned: with O(with_secrets)
  type: str
  sample: '{"format": 1, ...}'
style:
  description: How they name PostgreSQL, V(url) or V(entrypoint).
  returned: success
  type: str
  sample: url
postgres:
  description: Where PostgreSQL is according to them; null where that can't be told, which is among the RV(problems).
  returned: success
  type: dict
  sample: {host: db.example.org, port: 5432, database: cht, user: couch2pg, encrypted: false}
couchdb:
  description: Where CouchDB is according to them, without credentials; empty where that can't be told.
  returned: success
  type: str
  sample: https://couch.example.org/medic
running:
  description: Whether couch2pg runs.
  returned: success
  type: bool
  sample: true
node:
  description: Its Node.js program; empty where the deployment doesn't show it.
  returned: success
  type: str
  sample: /usr/bin/node
image:
  description: The image of its container; empty without one.
  returned: success
  type: str
  sample: ""
problems:
  description: What is odd about the deployment, each with what to do.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import discovery
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.kinds import NONE
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.problems import problems
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import CAPTURED
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import make_private_folder

OPTIONS: dict[str, Any] = {"with_secrets": {"type": "bool", "default": False, "no_log": False}}


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS, OPTIONS)
    path = migration_state(module) / CAPTURED

    def work() -> dict[str, Any]:
        deployment = discovery.find(module.params["deployment"])
        if deployment.kind == NONE:
            return {"changed": False, "found": False, "deployment": deployment.as_dict()}
        found = discovery.read(deployment)
        deployment = deployment.as_found(found)
        before = couch2pg_settings.load_if_there(path)
        changed = before != found.settings
        if changed and not module.check_mode:
            make_private_folder(path.parent)
            found.settings.save(path)
        return {
            "changed": changed,
            "found": True,
            "deployment": deployment.as_dict(),
            "settings_file": str(path),
            **found.settings.as_dict(),
            **({"settings_json": found.settings.as_json()} if module.params["with_secrets"] else {}),
            "running": found.running,
            "node": found.node,
            "image": found.image,
            "problems": problems(found, deployment.app_dir),
            "diff": discovery.redacted_diff(before, found.settings),
        }

    run(module, work)


if __name__ == "__main__":
    main()
