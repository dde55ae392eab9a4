#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether couch2pg would run on the target as it runs on the source."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_preflight
short_description: Check whether couch2pg would run on the target as it runs on the source
version_added: 0.1.0
description:
  - Runs on the host where couch2pg runs, or will run, with couch2pg's own settings, as its role and over its address.
  - Returns all findings by name, each V(ok), V(warning) or V(failure). It reads only, also from CouchDB.
  - It does not fail because of a finding; look at RV(ready).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
options:
  side:
    description: Whether couch2pg runs here now, or will.
    type: str
    required: true
    choices: [source, target]
  settings:
    description: couch2pg's settings, as JSON text, as M(cht.couch2pg.couch2pg_capture) returns them with O(ignore:with_secrets).
    type: str
  settings_file:
    description: A file on this host with couch2pg's settings, as M(cht.couch2pg.couch2pg_capture) stores them.
    type: path
  postgres:
    description: Where couch2pg will find PostgreSQL; what is not given stays as in the settings.
    type: dict
    default: {}
    suboptions:
      host:
        description: Address of the server.
        type: str
      port:
        description: Its port.
        type: int
      database:
        description: Name of the database.
        type: str
      user:
        description: couch2pg's role.
        type: str
      password:
        description: Its password.
        type: str
      query:
        description: What follows the question mark of the URL, such as C(ssl=true).
        type: str
  progress:
    description: The source's places in CouchDB, C(facts.progress) of the source's side.
    type: dict
    default: {}
  node:
    description: The command that runs couch2pg's Node.js here. Without it, nothing is said about Node.js.
    type: list
    elements: str
    default: []
  app_dir:
    description: couch2pg's folder on this host, where the version of its PostgreSQL driver is looked up.
    type: path
    default: ""
  rename:
    description: Whether places in couchdb_progress may get the keys that couch2pg will use.
    type: bool
    default: false
  started:
    description: Look into the database, too, where couch2pg is about to be started.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check couch2pg where it runs
  cht.couch2pg.couch2pg_preflight:
    side: source
    settings_file: ~/couch2pg-migration/cht/couch2pg.json
  register: source

- name: Check it where it will run, just before its start
  cht.couch2pg.couch2pg_preflight:
    side: target
    settings_file: ~/couch2pg-migration/cht/couch2pg_target.json
    node: [/opt/node-12/bin/node]
    app_dir: /opt/cht-couch2pg
    started: true
"""

RETURN = r"""
ready:
  description: Whether no finding is a failure.
  returned: success
  type: bool
  sample: true
findings:
  description: Every finding in the order of the checks.
  returned: success
  type: list
  elements: dict
  sample: [{name: couchdb, status: ok, message: answers from here, details: {}}]
facts:
  description: What the target's side needs to know of the source's; empty on the target.
  returned: success
  type: dict
  sample: {progress: {couch.example.org/medic: 1508-g1AAAA}}
"""

from dataclasses import replace
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils import couch2pg_settings, preflight_couch2pg
from ansible_collections.cht.couch2pg.plugins.module_utils._adapter import make_module, require_psycopg2, run
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg_settings import Settings
from ansible_collections.cht.couch2pg.plugins.module_utils.files import expand

OPTIONS: dict[str, Any] = {
    "side": {"type": "str", "required": True, "choices": ["source", "target"]},
    "settings": {"type": "str", "no_log": True},
    "settings_file": {"type": "path"},
    "postgres": {
        "type": "dict",
        "default": {},
        "options": {
            "host": {"type": "str"},
            "port": {"type": "int"},
            "database": {"type": "str"},
            "user": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "query": {"type": "str"},
        },
    },
    "progress": {"type": "dict", "default": {}},
    "node": {"type": "list", "elements": "str", "default": []},
    "app_dir": {"type": "path", "default": ""},
    "rename": {"type": "bool", "default": False},
    "started": {"type": "bool", "default": False},
}


def main() -> None:
    """Entry point."""
    module = make_module(
        OPTIONS,
        required_one_of=[("settings", "settings_file")],
        mutually_exclusive=[("settings", "settings_file")],
    )
    require_psycopg2(module)
    options = module.params

    def work() -> dict[str, Any]:
        settings = _settings(options)
        facts: dict[str, Any] = {}
        if options["side"] == "source":
            findings, facts = preflight_couch2pg.examine_source(settings)
        else:
            given = {name: value for name, value in options["postgres"].items() if value is not None}
            moved = settings.moved_to(replace(settings.postgres, **given)) if given else settings
            findings = preflight_couch2pg.examine_target(
                moved, options["progress"], options["node"], options["app_dir"], options["rename"], options["started"]
            )
        return {"changed": False, "ready": not findings.failed, "findings": findings.as_list(), "facts": facts}

    run(module, work)


def _settings(options: dict[str, Any]) -> Settings:
    if options["settings_file"]:
        return couch2pg_settings.load(expand(options["settings_file"]))
    return couch2pg_settings.parse_json(options["settings"])


if __name__ == "__main__":
    main()
