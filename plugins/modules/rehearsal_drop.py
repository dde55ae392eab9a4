#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop the copy that a rehearsal made."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_drop
short_description: Drop the database that a rehearsal created
version_added: 0.1.0
description:
  - Drops O(database) if the restore of this rehearsal created it, recognised by the server's identity, its name and its oid.
    Fails for any other database, and if the database is in use.
  - Also drops roles that this restore created, unless they can log in now or own something else on the server.
  - A database that doesn't exist is not an error.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.migration
options:
  migration_id:
    description: Name of the rehearsal, such as V(cht_rehearsal_20261126T010500).
  database:
    description: Name of the copy.
"""

EXAMPLES = r"""
- name: Remove the copy
  cht.couch2pg.rehearsal_drop:
    database: cht_rehearsal
    migration_id: cht_rehearsal_20261126T010500
    state_dir: ~/couch2pg
"""

RETURN = r"""
database:
  description: The database that was dropped; null if there was none.
  returned: success
  type: str
  sample: cht_rehearsal
roles:
  description: The roles that were dropped.
  returned: success
  type: list
  elements: str
  sample: [superset]
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import (
    connection_settings,
    make_module,
    migration_state,
    run,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal import copy as rehearsal_copy


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, MIGRATION_OPTIONS)
    settings = connection_settings(module)

    def work() -> dict[str, Any]:
        planned = rehearsal_copy.plan(settings, migration_state(module))
        names = [name for name in (planned["database"], *planned["roles"]) if name]
        if not module.check_mode:
            planned = rehearsal_copy.drop(settings, planned)
        return {
            "changed": bool(planned["database"] or planned["roles"]),
            "diff": {"before": "".join(f"{name}\n" for name in names), "after": ""},
            **planned,
        }

    run(module, work)


if __name__ == "__main__":
    main()
