#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source's database goes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_drop
short_description: Drop the database that was dumped
version_added: 0.1.0
description:
  - Drops the database only if its server, its oid and its name are those in the record.
  - Fails if there are sessions that are not in O(allowed_sessions). Otherwise closes the database for connections, renames it to
    C(<database>_dropping_<time>) and drops it. If that fails, it gets its name back.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.migration
options:
  database:
    description: Name of the database.
    type: str
    required: true
  identity:
    description: The server's system identifier at the time of the dump.
    type: str
    required: true
  oid:
    description: The database's oid at the time of the dump.
    type: int
    required: true
  allowed_sessions:
    description: Roles or application names whose sessions may be ended.
    type: list
    elements: str
    default: []
  give_back:
    description: Instead of dropping the database, undo an interrupted run. The database gets its name back and accepts connections.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Drop the source's database
  cht.couch2pg.database_drop:
    database: cht
    identity: "{{ proof.permission.source.identity }}"
    oid: "{{ proof.permission.source.oid }}"
    migration_id: cht-2026
    state_dir: ~/couch2pg
    allowed_sessions: [postgres_exporter]
"""

RETURN = r"""
dropped:
  description: The name of the database; null in check mode.
  returned: success
  type: str
  sample: cht
oid:
  description: Its oid.
  returned: success
  type: int
  sample: 16385
identity:
  description: The server that it was on.
  returned: success
  type: str
  sample: "7712218066094472000"
bytes:
  description: Its size in bytes; null if it had been dropped before.
  returned: success
  type: int
  sample: 77850000
begun:
  description: Whether an interrupted run had started to drop it.
  returned: when it is there
  type: bool
  sample: false
sessions:
  description: Sessions that were ended.
  returned: when it was there
  type: list
  elements: dict
  sample: [{role: monitoring, application_name: postgres_exporter}]
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import (
    connection_settings,
    make_module,
    migration_state,
    run,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import dropping
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import lock

OPTIONS: dict[str, Any] = {
    "identity": {"type": "str", "required": True},
    "oid": {"type": "int", "required": True},
    "allowed_sessions": {"type": "list", "elements": "str", "default": []},
    "give_back": {"type": "bool", "default": False},
}


def _told(planned: dict[str, Any]) -> dict[str, Any]:
    return {field: planned[field] for field in ("oid", "identity", "bytes", "sessions", "begun")}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, MIGRATION_OPTIONS, OPTIONS)
    settings = connection_settings(module)
    state = migration_state(module)
    options = module.params
    allowed = options["allowed_sessions"]

    def work() -> dict[str, Any]:
        done = dropping.already_dropped(settings, state, options["oid"])
        if done is not None:
            return {
                "changed": False,
                "dropped": settings.database,
                "oid": done["oid"],
                "identity": done["identity"],
                "bytes": None,
            }
        planned = dropping.plan(settings, state, options["identity"], options["oid"], allowed)
        if options["give_back"]:
            if planned["begun"] and not module.check_mode:
                dropping.reopen(settings, options["oid"])
            return {"changed": planned["begun"], "dropped": None, **_told(planned)}
        diff = {"before": f"{planned['name']}\n", "after": ""}
        if module.check_mode:
            return {"changed": True, "diff": diff, "dropped": None, **_told(planned)}
        return dict(dropping.drop(settings, state, planned, allowed), changed=True, diff=diff)

    def one_at_a_time() -> dict[str, Any]:
        with lock(state / "drop.lock"):
            return work()

    run(module, work if module.check_mode else one_at_a_time)


if __name__ == "__main__":
    main()
