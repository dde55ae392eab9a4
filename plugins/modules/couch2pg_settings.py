#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write couch2pg's settings on the target: those of the source, with the new address of PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_settings
short_description: Write couch2pg's settings of the source, with the new address of PostgreSQL
version_added: 0.1.0
description:
  - Takes the source's settings, replaces the address of PostgreSQL, and writes them in the form that the deployment on this host
    reads. Everything else stays byte for byte the same, unknown variables included.
  - The paths of certificates that the deployment on this host has already stay as they are (C(NODE_EXTRA_CA_CERTS), C(SSL_CERT_FILE),
    C(SSL_CERT_DIR)).
  - A systemd unit gets them in its last environment file. A unit without one gets C(/etc/couch2pg/<unit>.env) (0600) and a drop-in that
    names this file. The module reloads systemd, and starts nothing.
  - A Compose project gets them in its C(.env). The module asks Compose which variable of C(.env) sets which variable of couch2pg, and
    refuses a value that the compose file overrides.
  - An existing file keeps its other lines, mode and owner. A copy of the old file stays beside it
    (C(<file>.before-<migration_id>)).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.deployment
  - cht.couch2pg.migration
  - cht.couch2pg.postgres
options:
  settings:
    description: couch2pg's settings on the source, as RV(cht.couch2pg.couch2pg_info#module:settings_json) has them.
    type: str
    required: true
  couchdb_url:
    description:
      - The C(COUCHDB_URL), when CouchDB has another name on this host. Without credentials it gets those of the settings.
      - Another name changes the keys of couch2pg's checkpoints; see M(cht.couch2pg.couch2pg_checkpoint).
    type: str
"""

EXAMPLES = r"""
- name: Write the settings of the source for couch2pg on this host
  cht.couch2pg.couch2pg_settings:
    settings: "{{ captured.settings_json }}"
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    postgres:
      host: db-new.example.org
      password: "{{ vault_couch2pg_password }}"
"""

RETURN = r"""
files:
  description: The files that the module wrote, or would write in check mode.
  returned: success
  type: list
  elements: str
  sample: [/etc/couch2pg/couch2pg.env, /etc/systemd/system/couch2pg.service.d/50-couch2pg-migration.conf]
settings_file:
  description: File on this host with the settings that couch2pg has now, for other modules.
  returned: success
  type: str
  sample: /root/couch2pg-migration/cht-2026/couch2pg_target.json
settings:
  description: The variables, with credentials masked.
  returned: success
  type: dict
  sample: {COUCHDB_URL: "https://medic:********@couch.example.org/medic", COUCH2PG_SLEEP_MINS: "60"}
style:
  description: How the settings name PostgreSQL, V(url) or V(entrypoint).
  returned: success
  type: str
  sample: url
postgres:
  description: The PostgreSQL database in the settings.
  returned: success
  type: dict
  sample: {host: db.example.org, port: 5432, database: cht, user: couch2pg, encrypted: false}
couchdb:
  description: The CouchDB in the settings, without credentials.
  returned: success
  type: str
  sample: https://couch.example.org/medic
deployment:
  description: The deployment as found, for the same option of other modules.
  returned: success
  type: dict
  sample: {kind: systemd, unit: couch2pg, app_dir: /opt/couch2pg, log: {kind: journald, unit: couch2pg}}
log:
  description: The place of its log, as M(cht.couch2pg.couch2pg_log_info) takes it; empty when it isn't known.
  returned: success
  type: dict
  sample: {kind: journald, unit: couch2pg}
app_dir:
  description: couch2pg's folder on this host; empty when it isn't known.
  returned: success
  type: str
  sample: /opt/couch2pg
node:
  description: The Node.js program of couch2pg; empty when the deployment doesn't show it.
  returned: success
  type: str
  sample: /usr/bin/node
running:
  description: Whether couch2pg runs on this host.
  returned: success
  type: bool
  sample: false
reload_needed:
  description: Whether couch2pg runs on this host with other settings, and must be restarted to use these.
  returned: success
  type: bool
  sample: false
problems:
  description: What is unusual about the settings, or could not be written, each with what to do.
  returned: success
  type: list
  elements: str
  sample: []
"""

from dataclasses import replace
from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    DEPLOYMENT_OPTIONS,
    MIGRATION_OPTIONS,
    POSTGRES_OPTION,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import discovery
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.problems import problems
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import EFFECTIVE
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import make_private_folder

OPTIONS: dict[str, Option] = {
    # It contains passwords.
    "settings": {"type": "str", "required": True, "no_log": True},
    "postgres": POSTGRES_OPTION,
    # It may contain a password.
    "couchdb_url": {"type": "str", "no_log": True},
}


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    folder = migration_state(module)

    def work() -> Mapping[str, object]:
        captured = couch2pg_settings.parse_json(options["settings"])
        deployment = discovery.find(options["deployment"])
        found = discovery.read_or_nothing(deployment)
        deployment = deployment.as_found(found)
        settings = couch2pg_settings.for_target(captured, found.settings, options["postgres"], options["couchdb_url"])
        planned = discovery.plan(deployment, settings)
        path = folder / EFFECTIVE
        changed = bool(planned.needed) or couch2pg_settings.load_if_there(path) != settings
        if changed and not module.check_mode:
            discovery.apply(deployment, planned, options["migration_id"])
            make_private_folder(folder)
            settings.save(path)
        return {
            "changed": changed,
            "files": [str(change.path) for change in planned.needed],
            "settings_file": str(path),
            **settings.as_dict(),
            "deployment": deployment.as_dict(),
            "log": deployment.where_its_log_is(),
            "app_dir": deployment.app_dir,
            "node": found.node,
            "running": found.running,
            "reload_needed": found.running and (bool(planned.needed) or bool(found.stale)),
            "problems": [*problems(replace(found, settings=settings, stale=()), deployment.app_dir), *planned.problems],
            "diff": discovery.redacted_diff(found.settings, settings),
        }

    run(module, work)


if __name__ == "__main__":
    main()
