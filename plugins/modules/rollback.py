#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reverse of a promotion."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Reverse the promotion of a database
version_added: 0.1.0
description:
  - Renames the database that this migration promoted to C(<database>_rolled_back_<time>). The database that promotion replaced gets
    its name back in the same transaction. Nothing is dropped.
  - Fails if there are sessions on either database.
  - With O(method=physical), the data directory that promotion replaced is put back in its place. The service is stopped, the data
    directories change their names, and the service is started. The migrated one is kept as C(<data directory>_rolled_back_<time>).
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
  - cht.couch2pg.migration
  - cht.couch2pg.server
  - cht.couch2pg.server.act_as
options:
  database:
    description: Real name of the database.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Reverse the promotion
  cht.couch2pg.rollback:
    database: cht
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
"""

RETURN = r"""
name:
  description: The name that the database had.
  returned: success
  type: str
  sample: cht
oid:
  description: Its oid.
  returned: success
  type: int
  sample: 16999
identity:
  description: The server that it is on.
  returned: success
  type: str
  sample: "7712218066094472355"
kept_as:
  description: Its new name; null in check mode.
  returned: success
  type: str
  sample: cht_rolled_back_20261123T221530
restored:
  description: The former name of the database that got the real name back; null if there was none.
  returned: success
  type: str
  sample: cht_replaced_20261123T221530
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, migration_state, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import (
    CONNECTION_OPTIONS,
    MIGRATION_OPTIONS,
    SERVER_OPTIONS,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import lock
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import removal, switch
from ansible_collections.cht.couch2pg.plugins.module_utils.record.rolled_back import already_reversed
from ansible_collections.cht.couch2pg.plugins.module_utils.rollback import reversal


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, MIGRATION_OPTIONS, SERVER_OPTIONS)
    settings = connection_settings(module)
    state = migration_state(module)

    def work() -> Mapping[str, object]:
        resumed = None
        if switch.unfinished(state) is not None:
            if module.check_mode:
                return {"changed": True, "kept_as": None, "restored": None}
            resumed = switch.resume(settings, state)
        done = already_reversed(settings, state)
        if done is not None:
            return dict(done, changed=resumed is not None)
        planned = reversal.plan(settings, state)
        name, restored = planned["name"], planned["restored"]
        diff = {
            "before": f"{name}\n" + (f"{restored}\n" if restored else ""),
            "after": f"{name}_rolled_back_<time>\n" + (f"{name}\n" if restored else ""),
        }
        if planned["server"]:
            # A promotion that was killed after it was recorded has left it.
            warnings = [] if module.check_mode else removal.remove_needless(state)
            done = switch.back(settings, state, module.check_mode)
            diff = {"before": f"{planned['data']}\n{restored}\n", "after": f"{done['kept_as']}\n{planned['data']}\n"}
            return dict(
                done, kept_as=None if module.check_mode else done["kept_as"], changed=True, diff=diff, warnings=warnings
            )
        if module.check_mode:
            return dict(planned, kept_as=None, changed=True, diff=diff)
        return dict(reversal.reverse(settings, state, planned), changed=True, diff=diff)

    def one_at_a_time() -> Mapping[str, object]:
        with lock(state / "promote.lock"):
            return work()

    run(module, work if module.check_mode else one_at_a_time)


if __name__ == "__main__":
    main()
