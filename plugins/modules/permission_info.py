#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the record permits."""

from __future__ import annotations

DOCUMENTATION = r"""
module: permission_info
short_description: Check that the record of a migration allows an action that is hard to undo
version_added: 0.1.0
description:
  - Fails with all unfulfilled conditions, and if the record was edited by hand.
  - Also checks that the record describes this server, which means that the verified database has its real name here.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
  - cht.couch2pg.migration
options:
  database:
    description: Real name of the database.
    type: str
    required: true
  needs:
    description:
      - The conditions. V(verified), the database equals the source's; V(promoted), it has its real name; V(healthy), couch2pg on
        the target was verified to be healthy; V(couch2pg_moved), this collection has moved couch2pg; V(healthy_where_moved), couch2pg
        is healthy if it was moved; V(dashboards_same), the queries of dashboards return the same if they were compared; V(cut_over),
        dashboards read the target; V(not_rolled_back), the migration was not rolled back.
    type: list
    elements: str
    default: [verified, promoted, not_rolled_back]
    choices: [verified, promoted, healthy, couch2pg_moved, healthy_where_moved, dashboards_same, cut_over, not_rolled_back]
"""

EXAMPLES = r"""
- name: Check that the dashboards can be pointed at the target
  cht.couch2pg.permission_info:
    database: cht
    migration_id: cht-2026
    state_dir: ~/couch2pg
    needs: [verified, promoted, healthy, dashboards_same, not_rolled_back]
"""

RETURN = r"""
permission:
  description: A summary of the record for the next phases.
  returned: success
  type: dict
  sample:
    database: cht
    source: {host: old.example.org, identity: "7712218066094472000", oid: 16385, archive: /srv/staging/cht}
    target: {host: new.example.org, identity: "7712218066094472355", oid: 16390, name: cht, kept_as: null, archive: /srv/staging/cht}
    manifest_sha256: 0fd1...
    handed_over: true
    rolled_back: null
    cleanup: {}
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import (
    connection_settings,
    make_module,
    migration_state,
    run,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document
from ansible_collections.cht.couch2pg.plugins.module_utils.record import proof

OPTIONS: dict[str, Any] = {
    "needs": {
        "type": "list",
        "elements": "str",
        "default": ["verified", "promoted", "not_rolled_back"],
        "choices": list(proof.NEEDS),
    },
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, MIGRATION_OPTIONS, OPTIONS)
    settings = connection_settings(module)
    state = migration_state(module)

    def work() -> dict[str, Any]:
        known = record_document.load(state / record_document.NAME)
        return {"changed": False, "permission": proof.check(settings, state, known, module.params["needs"])}

    run(module, work)


if __name__ == "__main__":
    main()
