#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database goes: the source's after the migration, the copy of a rehearsal, or what a restore has filled."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_drop
short_description: Drop the database that was dumped, the copy of a rehearsal, or the database of a restore
version_added: 0.1.0
description:
  - With O(which=dumped), drops the database only if its server, its oid and its name are O(identity), O(oid) and O(database). Fails if
    there are sessions that are not in O(allowed_sessions). Otherwise closes the database for connections, renames it to
    C(<database>_dropping_<time>) and drops it. If that fails, it gets its name back.
  - With O(which=rehearsal), drops the database that the restore of the rehearsal O(migration_id) created, identified by the server, its
    name and its oid. Fails for any other database, and if there are sessions. Also drops the roles that this restore created, except
    roles that own something else on the server by now, or can log in by now. A role that got its login by M(cht.couch2pg.role_login) with
    this O(migration_id) is dropped, too, unless it has a session. With the method physical, ends the server on the rehearsal's copy
    and removes that copy; the target's own server is not contacted.
  - With O(which=incoming), drops the database O(incoming) that the restore of this migration filled, and removes the state of the
    restore, so that the next run starts it from the beginning. With the method physical, removes the copy of the whole server. Fails for
    a database that another migration made, while a restore runs, and if the database was promoted.
  - A database that is already dropped is not an error.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.migration
options:
  database:
    description: Name of the database; with O(which=incoming), the real name that it would get.
    type: str
    required: true
  which:
    description: V(dumped), the database that was dumped, on the source; V(rehearsal), the copy that the rehearsal O(migration_id) made on
      the target; V(incoming), the database that this migration restores into.
    type: str
    default: dumped
    choices: [dumped, rehearsal, incoming]
  incoming:
    description: Name of the database to restore into. Required with O(which=incoming).
    type: str
  identity:
    description: The server's system identifier at the time of the dump. Required with O(which=dumped).
    type: str
  oid:
    description: The database's oid at the time of the dump. Required with O(which=dumped).
    type: int
  not_server:
    description:
      - The running server of the target, C(permission.target.running) of M(cht.couch2pg.migration_info). On that server nothing is dropped.
      - After the method physical, the target's server has the same system identifier and the same oid as the source's.
    type: str
    default: ""
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
    not_server: "{{ proof.permission.target.running }}"
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    allowed_sessions: [postgres_exporter]

- name: Drop the copy of a rehearsal
  cht.couch2pg.database_drop:
    database: cht_rehearsal
    migration_id: cht_rehearsal_20261126T010500
    state_dir: ~/couch2pg-migration
    which: rehearsal

- name: Restore again from the beginning
  cht.couch2pg.database_drop:
    database: cht
    incoming: cht_incoming
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    which: incoming
"""

RETURN = r"""
dropped:
  description: The name of the database, or the folder of a copy of a whole server; null when nothing was dropped, as in check mode.
  returned: success
  type: str
  sample: cht
roles:
  description: The roles that were dropped.
  returned: with O(which=rehearsal)
  type: list
  elements: str
  sample: [superset]
oid:
  description: Its oid.
  returned: with O(which=dumped)
  type: int
  sample: 16385
identity:
  description: The server that it was on.
  returned: with O(which=dumped)
  type: str
  sample: "7712218066094472000"
bytes:
  description: Its size in bytes; null if it had been dropped before.
  returned: with O(which=dumped)
  type: int
  sample: 77850000
begun:
  description: Whether an interrupted run had started to drop it.
  returned: when it is there
  type: bool
  sample: false
partly:
  description: Whether the interrupted run had begun to remove its files. It can then only be dropped, and not be read.
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

from pathlib import Path
from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import dropping
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup.restart_database import discard_database
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import lock
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal import copy as rehearsal_copy

OPTIONS: dict[str, Option] = {
    "identity": {"type": "str"},
    "oid": {"type": "int"},
    "not_server": {"type": "str", "default": ""},
    "allowed_sessions": {"type": "list", "elements": "str", "default": []},
    "give_back": {"type": "bool", "default": False},
    "which": {"type": "str", "default": "dumped", "choices": ["dumped", "rehearsal", "incoming"]},
    "incoming": {"type": "str"},
}


def _told(planned: dropping.Plan) -> dict[str, object]:
    return {name: value for name, value in planned.items() if name != "name"}


def _drop_copy(settings: ConnectionSettings, state: Path, check_mode: bool) -> Mapping[str, object]:
    planned = rehearsal_copy.plan(settings, state)
    names = [name for name in (planned["database"], planned["copy"], *planned["roles"]) if name]
    diff = {"before": "".join(f"{name}\n" for name in names), "after": ""}
    nothing: rehearsal_copy.Copy = {"database": None, "roles": [], "copy": None}
    dropped = nothing if check_mode else rehearsal_copy.drop(settings, state, planned)
    what = dropped["database"] or dropped["copy"]
    return {"changed": bool(names), "diff": diff, "dropped": what, "roles": dropped["roles"]}


def main() -> None:
    """Entry point."""
    module = make_module(
        CONNECTION_OPTIONS,
        MIGRATION_OPTIONS,
        OPTIONS,
        required_if=[["which", "dumped", ["identity", "oid"]], ["which", "incoming", ["incoming"]]],
    )
    settings = connection_settings(module)
    state = migration_state(module)
    options = module.params
    allowed = options["allowed_sessions"]

    def work() -> Mapping[str, object]:
        if options["which"] == "rehearsal":
            return _drop_copy(settings, state, module.check_mode)
        if options["which"] == "incoming":
            return discard_database(settings, state, options["incoming"], not module.check_mode)
        done = dropping.already_dropped(settings, state, options["oid"])
        if done is not None:
            return {
                "changed": False,
                "dropped": settings.database,
                "oid": done["oid"],
                "identity": done["identity"],
                "bytes": None,
            }
        planned = dropping.plan(settings, state, options["identity"], options["oid"], allowed, options["not_server"])
        if options["give_back"]:
            if planned["begun"] and not module.check_mode:
                dropping.reopen(settings, options["oid"])
            return {"changed": planned["begun"], "dropped": None, **_told(planned)}
        diff = {"before": f"{planned['name']}\n", "after": ""}
        if module.check_mode:
            return {"changed": True, "diff": diff, "dropped": None, **_told(planned)}
        return dict(dropping.drop(settings, state, planned, allowed), changed=True, diff=diff)

    def one_at_a_time() -> Mapping[str, object]:
        with lock(state / "drop.lock"):
            return work()

    run(module, work if module.check_mode else one_at_a_time)


if __name__ == "__main__":
    main()
