#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the record permits."""

from __future__ import annotations

DOCUMENTATION = r"""
module: permission_info
short_description: Tell whether the record of a migration permits what is hard to undo
version_added: 0.1.0
description:
  - Fails with everything that the record lacks. One that was edited by hand permits nothing.
  - Then sees that the record speaks of what is there, which is that the database that was verified bears its real name on this server.
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
      - What must be so. V(verified), the database is the same as the source's; V(promoted), it has its real name; V(healthy), couch2pg on
        the target was proven to be; V(couch2pg_moved), this collection has moved it; V(healthy_where_moved), one that it has moved was
        proven to be healthy; V(dashboards_same), where queries of dashboards were compared, they are the same; V(cut_over),
        dashboards read the target; V(not_rolled_back), the way back was not taken.
    type: list
    elements: str
    default: [verified, promoted, not_rolled_back]
    choices: [verified, promoted, healthy, couch2pg_moved, healthy_where_moved, dashboards_same, cut_over, not_rolled_back]
"""

EXAMPLES = r"""
- name: See that the dashboards may be pointed at the target
  cht.couch2pg.permission_info:
    database: cht
    migration_id: cht-2026
    state_dir: ~/couch2pg
    needs: [verified, promoted, healthy, dashboards_same, not_rolled_back]
"""

RETURN = r"""
permission:
  description: What the record says that others go by.
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
