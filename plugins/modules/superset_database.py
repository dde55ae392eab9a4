#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Superset's connections to a database, led elsewhere."""

from __future__ import annotations

DOCUMENTATION = r"""
module: superset_database
short_description: Point the databases of Superset at the target, or back at the source
version_added: 0.1.0
description:
  - Finds the database connections of an Apache Superset that lead to the source. Tests logins on both sides through Superset, then changes
    the connections. Then runs the query of a chart of each, or counts a dataset when no chart has a saved query.
  - Superset shows no password, so the passwords of the new side must be given. With O(side=source), a missing password keeps the one in
    Superset.
  - A database that was entered field by field shows its address as one URI in Superset afterwards.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.cutover
options:
  url:
    description: Address of Superset.
    type: str
    required: true
  user:
    description: A user of Superset who may read and change databases, and read charts.
    type: str
    required: true
  password:
    description: The user's password.
    type: str
    required: true
  provider:
    description: How Superset authenticates the user.
    type: str
    default: db
    choices: [db, ldap]
"""

EXAMPLES = r"""
- name: Point Superset at the new server
  cht.couch2pg.superset_database:
    url: https://superset.example.org
    user: admin
    password: "{{ vault_superset_password }}"
    source: {names: [old.example.org, 10.0.0.5], database: cht}
    target: {host: new.example.org, database: cht}
    passwords: {superset: "{{ vault_dashboard_password }}"}
  delegate_to: localhost
"""

RETURN = r"""
moved:
  description: Names of those that were, or would be, changed.
  returned: success
  type: list
  elements: str
  sample: [CHT]
ready:
  description: Names of those that led to the target already.
  returned: success
  type: list
  elements: str
  sample: []
packed:
  description: What was changed, to be remembered; it holds no password.
  returned: success
  type: str
  sample: W10=
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CUTOVER_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import changes as cutover_changes
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.sides import Sides
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.superset import TOOL, Superset

OPTIONS: dict[str, Any] = {
    "url": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "provider": {"type": "str", "default": "db", "choices": ["db", "ldap"]},
}


def main() -> None:
    """Entry point."""
    module = make_module(CUTOVER_OPTIONS, OPTIONS)
    options = module.params

    def work() -> dict[str, Any]:
        superset = Superset(
            options["url"],
            options["user"],
            options["password"],
            Sides.of(options),
            options["provider"],
            options["ca_cert"],
        )
        own = cutover_changes.of_tool(TOOL, options["remembered"])
        if options["side"] == "target":
            return dict(cutover_changes.cut_over(superset, not module.check_mode, own))
        return dict(cutover_changes.switch_back(superset, own, not module.check_mode))

    run(module, work)


if __name__ == "__main__":
    main()
