#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See CouchDB as couch2pg sees it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_info
short_description: See whether CouchDB answers as couch2pg needs it
version_added: 0.1.0
description:
  - Asks CouchDB from this host, with couch2pg's own URL and credentials, for every database that couch2pg follows.
  - A misspelt database would be made by couch2pg and found empty. This module never makes one, and writes nothing.
  - TLS must be trusted by this host's Python, and with O(node) by the Node.js that couch2pg runs on, which brings its own list.
  - Doesn't fail for what it finds. Every problem is returned with what to do.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
options:
  settings_file:
    description: couch2pg's settings, stored on this host. This or O(couchdb_url) is required.
    type: path
  couchdb_url:
    description: The C(COUCHDB_URL) that couch2pg will have, with its credentials.
    type: str
  variables:
    description:
      - With O(couchdb_url), couch2pg's other variables that matter here, where they are set. These are C(SYNC_DB_MEDIC),
        C(SYNC_DB_SENTINEL), C(SYNC_DB_USER_META), C(SYNC_DB_LOGS), C(SYNC_DB_USERS), C(NODE_EXTRA_CA_CERTS) and
        C(NODE_TLS_REJECT_UNAUTHORIZED).
    type: dict
    default: {}
  ca_cert:
    description:
      - File on this host with the certificates that are trusted for CouchDB, beside the system's.
      - The default is that of C(NODE_EXTRA_CA_CERTS), where this host has it.
    type: path
    default: ""
  couchdb_server:
    description:
      - Where CouchDB is for this host, as C(scheme://host:port) without credentials, where couch2pg knows it by another name, as
        in a network of containers.
    type: str
    default: ""
  node:
    description: The command that runs couch2pg's Node.js here, to see whether it trusts CouchDB. Empty means not to see.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: See CouchDB from the new server
  cht.couch2pg.couchdb_info:
    couchdb_url: "{{ vault_couchdb_url }}"
    variables:
      SYNC_DB_LOGS: "false"
    node: [/usr/bin/node]
  register: couchdb

- name: Stop where couch2pg would not get on
  ansible.builtin.assert:
    that: not couchdb.problems
    fail_msg: "{{ couchdb.problems | map(attribute='message') | join(' ') }}"
"""

RETURN = r"""
server:
  description: Where CouchDB is, without credentials.
  returned: success
  type: str
  sample: https://couch.example.org
databases:
  description:
    - Each followed database with the key of couch2pg's place in it, the number of its newest change and its documents.
    - C(exists) is null, like the numbers, where CouchDB didn't tell.
  returned: success
  type: list
  elements: dict
  sample: [{database: medic, key: couch.example.org/medic, exists: true, update_seq: 1508, documents: 1400}]
marks:
  description: The number of the newest change by key, as M(cht.couch2pg.couch2pg_place) takes it.
  returned: success
  type: dict
  sample: {couch.example.org/medic: 1508}
node_trusts:
  description: Whether couch2pg's Node.js trusts CouchDB; null when it was not asked.
  returned: success
  type: bool
  sample: true
problems:
  description: What is wrong, each with its code, its database (null for all of them) and a message that says what to do.
  returned: success
  type: list
  elements: dict
  sample: [{code: couchdb_no_database, database: medik, message: "CouchDB at ... has no database 'medik'. ..."}]
notices:
  description: What to know, such as a database without a document.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import couchdb_report
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings

OPTIONS: dict[str, Any] = {
    "settings_file": {"type": "path"},
    # It bears a password.
    "couchdb_url": {"type": "str", "no_log": True},
    "variables": {"type": "dict", "default": {}},
    "ca_cert": {"type": "path", "default": ""},
    "couchdb_server": {"type": "str", "default": ""},
    "node": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Entry point."""
    module = make_module(
        OPTIONS,
        required_one_of=[["settings_file", "couchdb_url"]],
        mutually_exclusive=[["settings_file", "couchdb_url"]],
    )
    options = module.params

    def work() -> dict[str, Any]:
        if options["settings_file"]:
            settings = couch2pg_settings.load(Path(options["settings_file"]))
        else:
            variables = {name: str(value) for name, value in options["variables"].items()}
            settings = couch2pg_settings.Settings({**variables, "COUCHDB_URL": options["couchdb_url"]})
        return dict(
            couchdb_report.look(settings, options["ca_cert"], options["couchdb_server"], options["node"]), changed=False
        )

    run(module, work)


if __name__ == "__main__":
    main()
