#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verified database gets its real name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: promote
short_description: Give the verified database its real name
version_added: 0.1.0
description:
  - Renames O(incoming) to O(database). An existing database with the real name is renamed in the same transaction
    and kept as C(<database>_replaced_<time>). Nothing is dropped.
  - Promotes only the database that this migration has verified, and only if nothing was changed in it since. The server's own
    counters tell whether rows were written.
  - With O(method=physical), the verified copy of the source's whole server is put in the place of the target's. The service is stopped,
    the data directories change their names, and the service is started. The target's own configuration stays in force. The data
    directory that was there before is kept as C(<data directory>_replaced_<time>), and is put back at once when the server doesn't
    answer with the verified database.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.migration
  - cht.couch2pg.record
  - cht.couch2pg.server
  - cht.couch2pg.server.act_as
options:
  database:
    description: Real name of the database.
    type: str
    required: true
  incoming:
    description: Name of the database that was restored into.
    type: str
    required: true
  replace_existing:
    description: Whether a database O(database) that is not empty may be renamed. An empty one is always renamed.
    type: bool
    default: false
  only_resume:
    description: Only finish an interrupted promotion or rollback with O(method=physical), and do nothing else.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Give the verified database its real name
  cht.couch2pg.promote:
    database: cht
    incoming: cht_incoming
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration

- name: Put the verified copy of the whole server in its place
  cht.couch2pg.promote:
    method: physical
    act_as: postgres
    database: cht
    incoming: cht
    migration_id: cht-2026
    state_dir: ~postgres/couch2pg
  become: true
"""

RETURN = r"""
name:
  description: The new name of the database.
  returned: success
  type: str
  sample: cht
oid:
  description: Its oid.
  returned: success
  type: int
  sample: 16999
kept_as:
  description: The new name of the database that had the real name before; null if there was none.
  returned: success
  type: str
  sample: cht_replaced_20261123T221530
replaced:
  description: With O(method=physical), the new path of the data directory that the server had before.
  returned: with O(method=physical)
  type: str
  sample: /var/lib/postgresql/16/main_replaced_20261123T221530
"""

from pathlib import Path
from typing import Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import (
    make_module,
    migration_state,
    predict_or_fail,
    run,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    MIGRATION_OPTIONS,
    SERVER_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.record_option import RECORD_OPTION
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import lock
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import removal, switch
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.promote import promotion
from ansible_collections.cht.couch2pg.plugins.module_utils.record.promoted import already_promoted

OPTIONS: dict[str, Option] = {
    "incoming": {"type": "str", "required": True},
    "replace_existing": {"type": "bool", "default": False},
    "only_resume": {"type": "bool", "default": False},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, MIGRATION_OPTIONS, OPTIONS, RECORD_OPTION, SERVER_OPTIONS)
    settings = connection_settings(module)
    state = migration_state(module)
    name, incoming = settings.database, module.params["incoming"]

    def work() -> Mapping[str, object]:
        if module.params["method"] == "physical":
            return _exchange(module, settings, state)
        done = already_promoted(settings, state, name)
        if done is not None:
            return dict(done, changed=False)
        try:
            oid = promotion.verified_oid(state)
            existing = promotion.plan(settings, name, incoming, oid, module.params["replace_existing"])
        except MigrationError as error:
            if error.code == "target_not_empty":
                raise
            predict_or_fail(module, error)
        diff = {
            "before": f"{name}\n{incoming}\n" if existing else f"{incoming}\n",
            "after": f"{name}_replaced_<time>\n{name}\n" if existing else f"{name}\n",
        }
        if module.check_mode:
            promotion.check_unused(settings, state, [incoming, *([name] if existing else [])], oid)
            return {"changed": True, "diff": diff, "name": name, "oid": oid, "kept_as": None}
        done = promotion.promote(settings, state, name, incoming, oid, existing)
        return dict(done, changed=True, diff=diff)

    def one_at_a_time() -> Mapping[str, object]:
        if module.params["only_resume"] and switch.unfinished(state) is None:
            return {"changed": False}
        # A second run waits here, so that it finds what the first one has done.
        with lock(state / "promote.lock"):
            return work()

    run(module, work if module.check_mode else one_at_a_time)


def _exchange(module: AnsibleModule, settings: ConnectionSettings, state: Path) -> Mapping[str, object]:
    """The promotion of a whole server (method physical)."""
    if switch.unfinished(state) is not None and module.check_mode:
        return {
            "changed": True,
            "msg": "A promotion or rollback was interrupted. A run without check mode finishes it first.",
        }
    resumed = switch.resume(settings, state)
    if module.params["only_resume"]:
        return {"changed": resumed is not None}
    done = already_promoted(settings, state, settings.database)
    if done is not None:
        # An earlier run may have been killed before it did this.
        warnings = [] if module.check_mode else removal.remove_needless(state)
        return dict(done, changed=resumed is not None, warnings=warnings)
    try:
        done = switch.promote(
            settings,
            state,
            module.params["migration_id"],
            module.params["commands"] or {},
            module.params["replace_existing"],
            module.check_mode,
        )
    except MigrationError as error:
        predict_or_fail(module, error)
    data, replaced = done["data_directory"], done["replaced"]
    diff = {"before": f"{data}\n{done['incoming']}\n", "after": f"{replaced}\n{data}\n"}
    warnings = [] if module.check_mode else removal.remove_needless(state)
    return dict(done, changed=True, diff=diff, warnings=warnings)


if __name__ == "__main__":
    main()
