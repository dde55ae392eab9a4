#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the record permits a cutover."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cutover_permission
short_description: See that the record of a migration permits its cutover
version_added: 0.1.0
description:
  - Fails unless the record is as this collection wrote it, and says that the target's database was verified and got its real name, that
    couch2pg is healthy there, that the dashboards' queries have the same results where they were compared, and that the migration was not
    rolled back.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.migration
options:
  without_couch2pg:
    description:
      - Your word that couch2pg was not moved by this collection, and fills the target all the same.
      - A handover that failed is refused nevertheless.
    type: bool
    default: false
  despite_dashboards:
    description: Your word that a difference between the dashboards' queries doesn't matter.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: See that dashboards may be pointed at the target
  cht.couch2pg.cutover_permission:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
compared:
  description: Whether the dashboards' queries were compared.
  returned: success
  type: bool
  sample: true
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils import permission, record
from ansible_collections.cht.couch2pg.plugins.module_utils._adapter import MIGRATION_OPTIONS, make_module, run

OPTIONS: dict[str, Any] = {
    "without_couch2pg": {"type": "bool", "default": False},
    "despite_dashboards": {"type": "bool", "default": False},
}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    path = record.record_path(options["state_dir"], options["migration_id"])

    def healthy(known: permission.Record) -> str | None:
        if options["without_couch2pg"] and "handover" not in known["phases"]:
            return None
        lacking = permission.healthy(known)
        hint = " (where only the database was moved, say couch2pg_cutover_without_couch2pg: true)"
        return lacking + hint if lacking and "handover" not in known["phases"] else lacking

    def same(known: permission.Record) -> str | None:
        return None if options["despite_dashboards"] else permission.dashboards_same(known)

    def work() -> dict[str, Any]:
        known = permission.require(
            record.load(path), permission.verified, permission.promoted, permission.not_rolled_back, healthy, same
        )
        return {"changed": False, "compared": "dashboards" in known["phases"]}

    run(module, work)


if __name__ == "__main__":
    main()
