#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Klipfolio's data sources, led to another database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: klipfolio_data_source
short_description: Point the data sources of Klipfolio at the target, or back at the source
version_added: 0.1.0
description:
  - Finds the data sources of a Klipfolio account that lead to the source, changes their properties, and waits until each is refreshed.
  - Changes only properties that a data source has. Its password is written, and never read.
  - Klipfolio can't test a connection before it is changed. When a refresh fails, the module puts back this data source and those before
    it.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.cutover
options:
  api_key:
    description: An API key of a user with the permissions C(dashboard.library) and C(datasource.edit).
    type: str
    required: true
  url:
    description: Address of the API.
    type: str
    default: https://app.klipfolio.com/api/1.0
  properties:
    description: Names of host, port, database, user and password in the properties of the data sources.
    type: dict
    default: {}
    suboptions:
      host:
        description: The server.
        type: str
        default: host
      port:
        description: Its port.
        type: str
        default: port
      database:
        description: The database.
        type: str
        default: database
      user:
        description: The role.
        type: str
        default: user
      password:
        description: Its password.
        type: str
        default: password
  refresh_seconds:
    description: Time limit of a refresh, in seconds.
    type: float
    default: 300.0
"""

EXAMPLES = r"""
- name: Point Klipfolio at the new server
  cht.couch2pg.klipfolio_data_source:
    api_key: "{{ vault_klipfolio_key }}"
    source: {names: [old.example.org], database: cht}
    target: {host: new.example.org, database: cht}
    passwords: {klipfolio: "{{ vault_dashboard_password }}"}
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
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.klipfolio import NAMES, TOOL, URL, Klipfolio
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.sides import Sides

OPTIONS: dict[str, Any] = {
    "api_key": {"type": "str", "required": True, "no_log": True},
    "url": {"type": "str", "default": URL},
    "properties": {
        "type": "dict",
        "default": {},
        # The password's is a name, too.
        "options": {key: {"type": "str", "default": name, "no_log": False} for key, name in NAMES.items()},
    },
    "refresh_seconds": {"type": "float", "default": 300.0},
}


def main() -> None:
    """Entry point."""
    module = make_module(CUTOVER_OPTIONS, OPTIONS)
    options = module.params

    def work() -> dict[str, Any]:
        klipfolio = Klipfolio(
            options["api_key"],
            Sides.of(options),
            options["url"],
            options["properties"],
            options["refresh_seconds"],
            options["ca_cert"],
        )
        own = cutover_changes.of_tool(TOOL, options["remembered"])
        if options["side"] == "target":
            return dict(cutover_changes.cut_over(klipfolio, not module.check_mode, own))
        return dict(cutover_changes.switch_back(klipfolio, own, not module.check_mode))

    run(module, work)


if __name__ == "__main__":
    main()
