#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's settings on the target: those of the source, with PostgreSQL in its new place."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_settings
short_description: Give couch2pg the settings that it had, with PostgreSQL in its new place
version_added: 0.1.0
description:
  - Takes the settings that M(cht.couch2pg.couch2pg_capture) stored on the source, puts PostgreSQL's new place into them, and writes them
    as the deployment on this host wants them. Everything else stays byte for byte, unknown variables included.
  - A systemd unit gets them in its last environment file, or, where it has none, in C(/etc/couch2pg/<unit>.env) (0600), which a drop-in
    names. systemd is told to read its files again; nothing is started.
  - A Compose project gets them in its C(.env). Which of its variables lead to couch2pg's is found out by asking Compose, and a
    value that the compose file doesn't let through is refused.
  - Of a file that is there, other lines, mode and owner stay, and what it was is kept beside it
    (C(<file>.before-<migration_id>)).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.deployment
  - cht.couch2pg.migration
  - cht.couch2pg.postgres
options:
  settings:
    description: couch2pg's settings on the source, as M(cht.couch2pg.couch2pg_capture) returns them with O(ignore:with_secrets).
    type: str
  settings_file:
    description:
      - In place of O(settings), a file on this host with what was captured.
      - C(<state_dir>/<migration_id>/couch2pg.json) by default.
    type: path
    default: ""
  couchdb_url:
    description:
      - The C(COUCHDB_URL) where CouchDB has another name from here. Credentials are kept when it has none.
      - Another name is another key of couch2pg's place; see M(cht.couch2pg.couch2pg_place).
    type: str
"""

EXAMPLES = r"""
- name: couch2pg on this host gets the settings of the source
  cht.couch2pg.couch2pg_settings:
    settings: "{{ captured.settings_json }}"
    migration_id: cht-2026
    state_dir: ~/couch2pg
    postgres:
      host: db-new.example.org
      password: "{{ vault_couch2pg_password }}"
"""

RETURN = r"""
files:
  description: The files that were written, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/couch2pg/couch2pg.env, /etc/systemd/system/couch2pg.service.d/50-couch2pg-migration.conf]
settings_file:
  description: The file with the settings that couch2pg has from now on, for the watch over its start.
  returned: success
  type: str
  sample: /root/couch2pg/cht-2026/couch2pg_target.json
settings:
  description: The variables, with credentials masked.
  returned: success
  type: dict
  sample: {COUCHDB_URL: "https://medic:********@couch.example.org/medic", COUCH2PG_SLEEP_MINS: "60"}
style:
  description: How they name PostgreSQL, V(url) or V(entrypoint).
  returned: success
  type: str
  sample: url
postgres:
  description: Where PostgreSQL is according to them.
  returned: success
  type: dict
  sample: {host: db.example.org, port: 5432, database: cht, user: couch2pg, encrypted: false}
couchdb:
  description: Where CouchDB is according to them, without credentials.
  returned: success
  type: str
  sample: https://couch.example.org/medic
deployment:
  description: The deployment as it was found, for the same option of other modules.
  returned: success
  type: dict
  sample: {kind: systemd, unit: couch2pg, app_dir: /opt/couch2pg, log: {kind: journald, unit: couch2pg}}
log:
  description: Where its log is, as M(cht.couch2pg.couch2pg_log_info) takes it; empty where it isn't known.
  returned: success
  type: dict
  sample: {kind: journald, unit: couch2pg}
app_dir:
  description: couch2pg's folder on this host; empty where it isn't known.
  returned: success
  type: str
  sample: /opt/couch2pg
node:
  description: Its Node.js program; empty where the deployment doesn't show it.
  returned: success
  type: str
  sample: /usr/bin/node
running:
  description: Whether couch2pg runs here now.
  returned: success
  type: bool
  sample: false
reload_needed:
  description: Whether couch2pg runs here now with other settings, so that it must be started again to have these.
  returned: success
  type: bool
  sample: false
problems:
  description: What is odd about the settings or could not be carried over, each with what to do.
  returned: success
  type: list
  elements: str
  sample: []
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    DEPLOYMENT_OPTIONS,
    MIGRATION_OPTIONS,
    POSTGRES_OPTION,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import discovery
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment.problems import problems
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import CAPTURED, EFFECTIVE, Settings
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import expand, make_private_folder

OPTIONS: dict[str, Any] = {
    # It bears passwords.
    "settings": {"type": "str", "no_log": True},
    "settings_file": {"type": "path", "default": ""},
    "postgres": POSTGRES_OPTION,
    # It may bear a password.
    "couchdb_url": {"type": "str", "no_log": True},
}


def main() -> None:
    """Entry point."""
    module = make_module(DEPLOYMENT_OPTIONS, MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    folder = migration_state(module)

    def work() -> dict[str, Any]:
        captured = _captured(options, folder)
        deployment = discovery.find(options["deployment"])
        found = discovery.read_or_nothing(deployment)
        deployment = deployment.as_found(found)
        given = {name: value for name, value in options["postgres"].items() if value is not None}
        settings = captured.moved_to(replace(captured.postgres, **given), found.settings.style)
        if options["couchdb_url"]:
            settings = settings.with_couchdb(options["couchdb_url"])
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


def _captured(options: dict[str, Any], folder: Path) -> Settings:
    if options["settings"]:
        return couch2pg_settings.parse_json(options["settings"])
    return couch2pg_settings.load(expand(options["settings_file"]) if options["settings_file"] else folder / CAPTURED)


if __name__ == "__main__":
    main()
