#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's role and its login."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_role
short_description: Let couch2pg's role log in with the password of couch2pg's settings
version_added: 0.1.0
description:
  - Tries a login as couch2pg would make it, from this host. Where the role is missing, may not log in, has another password, or one that
    couch2pg's driver can't use, the role gets its login and the password that is in couch2pg's settings.
  - The password is hashed on this host. No statement that the server could log bears it.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
options:
  settings:
    description: couch2pg's settings, as JSON text.
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
  password_hash:
    description: How the password is stored. The driver that couch2pg brings knows V(md5) only.
    type: str
    default: md5
    choices: [md5, scram-sha-256]
"""

EXAMPLES = r"""
- name: Let couch2pg log in on the new server
  cht.couch2pg.couch2pg_role:
    database: cht
    settings: "{{ captured.settings_json }}"
  no_log: true
"""

RETURN = r"""
role:
  description: couch2pg's role.
  returned: success
  type: str
  sample: couch2pg
given:
  description: What was missing; empty when it could log in already.
  returned: success
  type: list
  elements: str
  sample: [LOGIN, PASSWORD]
"""

from dataclasses import replace
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import connection_settings, make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import role as couch2pg_role
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import Session

OPTIONS: dict[str, Any] = {
    # It bears passwords.
    "settings": {"type": "str", "required": True, "no_log": True},
    "host": {"type": "str", "default": "localhost"},
    "port": {"type": "int", "default": 5432},
    "password_hash": {"type": "str", "default": "md5", "choices": list(couch2pg_role.HASHES), "no_log": False},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, OPTIONS)
    settings = connection_settings(module)
    options = module.params

    def work() -> dict[str, Any]:
        place = replace(
            couch2pg_settings.parse_json(options["settings"]).postgres,
            host=options["host"],
            port=options["port"],
            database=options["database"],
        )
        with Session(settings.maintenance) as session:
            todo = couch2pg_role.missing(session, place, options["password_hash"])
            if todo and not module.check_mode:
                couch2pg_role.give(session, place, options["password_hash"], todo)
        after = f"{place.user}: can log in\n"
        before = f"{place.user}: lacks {', '.join(todo)}\n" if todo else after
        return {"changed": bool(todo), "role": place.user, "given": todo, "diff": {"before": before, "after": after}}

    run(module, work)


if __name__ == "__main__":
    main()
