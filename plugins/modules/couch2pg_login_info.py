#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See whether couch2pg could log in to PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_login_info
short_description: See whether couch2pg could log in to PostgreSQL
version_added: 0.1.0
description:
  - Begins a connection over the network from this host, as couch2pg would, and looks at what the server asks for.
    No password is needed, and none is sent.
  - couch2pg's own driver knows C(md5), not C(scram-sha-256).
    What is asked for depends on C(pg_hba.conf) and on how the role's password is stored.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
options:
  host:
    description: Address of the server as couch2pg will use it.
    type: str
    required: true
  port:
    description: Port of the server.
    type: int
    default: 5432
  user:
    description: couch2pg's role.
    type: str
    required: true
  database:
    description: Name of the database.
    type: str
    required: true
  encrypted:
    description: Whether couch2pg will use TLS, as with C(?ssl=true) in its URL.
    type: bool
    default: false
  app_dir:
    description:
      - couch2pg's folder on this host, where the version of its driver is looked up.
      - Without it the driver is taken for the old one that couch2pg brings.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: See whether couch2pg could log in from here
  cht.couch2pg.couch2pg_login_info:
    host: db.example.org
    user: couch2pg
    database: cht
    app_dir: /opt/cht-couch2pg
  register: login

- name: Stop where it could not
  ansible.builtin.assert:
    that: login.possible
    fail_msg: "{{ login.problem }}"
"""

RETURN = r"""
possible:
  description: Whether couch2pg could log in, as far as this shows; whether its password is right does not show.
  returned: success
  type: bool
  sample: false
problem:
  description: Why it could not, and what to do; empty when it could.
  returned: success
  type: str
  sample: ""
method:
  description: What the server asks for (V(trust), V(password), V(md5), V(scram), V(gss), V(sspi)), or V(refused).
  returned: success
  type: str
  sample: md5
reason:
  description: The server's own words when it refuses.
  returned: success
  type: str
  sample: ""
driver:
  description: Version of couch2pg's driver; null where it wasn't seen.
  returned: success
  type: str
  sample: 7.18.2
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import login_probe

OPTIONS: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "default": 5432},
    "user": {"type": "str", "required": True},
    "database": {"type": "str", "required": True},
    "encrypted": {"type": "bool", "default": False},
    "app_dir": {"type": "path", "default": ""},
}


def main() -> None:
    """Entry point."""
    module = make_module(OPTIONS)
    options = module.params

    def work() -> dict[str, Any]:
        asked = login_probe.probe(
            options["host"], options["port"], options["user"], options["database"], options["encrypted"]
        )
        driver = login_probe.driver_version(options["app_dir"]) if options["app_dir"] else None
        problem = login_probe.login_problem(asked, options["user"], driver)
        return {
            "changed": False,
            "possible": not problem,
            "problem": problem,
            "method": asked.method,
            "reason": asked.reason,
            "driver": ".".join(map(str, driver)) if driver else None,
        }

    run(module, work)


if __name__ == "__main__":
    main()
