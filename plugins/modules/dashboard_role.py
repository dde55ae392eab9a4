#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dashboard's role: its login, and what it may read."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dashboard_role
short_description: See that a dashboard's role can log in and read what it should
version_added: 0.1.0
description:
  - Tries a login over the network from this host with the password that the dashboard will use. Where it fails, the role gets its login
    and that password with O(give), else the module fails.
  - Lists what the role may read, and fails when something of O(expected) is not among it.
  - The password is hashed on this host. No statement that the server could log bears it.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
options:
  role:
    description: The role.
    type: str
    required: true
  password:
    description: Its password on this side.
    type: str
    required: true
  host:
    description: Address of the server as it is reached from here over the network.
    type: str
    default: localhost
  port:
    description: Its port.
    type: int
    default: 5432
  give:
    description: Whether the role gets its login and password where it lacks them.
    type: bool
    default: false
  password_hash:
    description: How a password that is given is stored.
    type: str
    default: scram-sha-256
    choices: [md5, scram-sha-256]
  expected:
    description: What it must be able to read, as RV(readable) of the other side.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: See that Superset's role can read on the new server what it reads on the old one
  cht.couch2pg.dashboard_role:
    database: cht
    role: superset
    password: "{{ vault_dashboard_password }}"
    give: true
    expected: "{{ old.readable }}"
"""

RETURN = r"""
given:
  description: What the role got, or would get; empty when it could log in.
  returned: success
  type: list
  elements: str
  sample: [LOGIN, PASSWORD]
readable:
  description: Tables and views that the role may read.
  returned: success
  type: list
  elements: str
  sample: [public.couchdb]
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import connection_settings, make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import role as couch2pg_role
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import PostgresPlace
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import dashboard_role
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import Session

OPTIONS: dict[str, Any] = {
    "role": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "host": {"type": "str", "default": "localhost"},
    "port": {"type": "int", "default": 5432},
    "give": {"type": "bool", "default": False},
    "password_hash": {
        "type": "str",
        "default": couch2pg_role.SCRAM,
        "choices": list(couch2pg_role.HASHES),
        "no_log": False,
    },
    "expected": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, OPTIONS)
    settings = connection_settings(module)
    options = module.params
    role = options["role"]

    def work() -> dict[str, Any]:
        # A server that insists on TLS gets it.
        query = f"sslmode={settings.ssl_mode}" if settings.ssl_mode in ("require", "verify-ca", "verify-full") else ""
        place = PostgresPlace(options["host"], options["port"], options["database"], role, options["password"], query)
        with Session(settings) as session:
            given = dashboard_role.let_in(
                session, place, options["password_hash"], options["give"], not module.check_mode
            )
            readable = dashboard_role.readable(session, role)
            dashboard_role.compare(role, options["expected"], readable, settings.place)
        after = f"{role}: can log in\n"
        before = f"{role}: lacks {', '.join(given)}\n" if given else after
        return {
            "changed": bool(given),
            "given": given,
            "readable": readable,
            "diff": {"before": before, "after": after},
        }

    run(module, work)


if __name__ == "__main__":
    main()
