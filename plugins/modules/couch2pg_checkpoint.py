#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check couch2pg's checkpoints, and rename them for a CouchDB with another name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_checkpoint
short_description: Check that couch2pg continues from its checkpoints
version_added: 0.1.0
description:
  - Compares the keys that couch2pg derives from its C(COUCHDB_URL) with the rows of C(couchdb_progress), for each database that
    couch2pg follows.
  - Without a row under its key, couch2pg downloads the whole database again. Then the module fails, or renames the row when O(rename)
    allows that.
  - Host, port, path, a trailing slash and a query string are all part of the key.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
options:
  settings:
    description: couch2pg's settings, as RV(cht.couch2pg.couch2pg_info#module:settings_json) has them.
    type: str
  couchdb_url:
    description: The C(COUCHDB_URL) that couch2pg will have, when it is not the one in O(settings). Its credentials are not used.
    type: str
  sync:
    description:
      - The variables C(SYNC_DB_MEDIC), C(SYNC_DB_SENTINEL), C(SYNC_DB_USER_META), C(SYNC_DB_LOGS) and C(SYNC_DB_USERS) that
        couch2pg will have. The default is those in O(settings).
    type: dict
    default: {}
  rename:
    description: Whether to rename a checkpoint of the same database on a CouchDB server with another name.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check that couch2pg will download nothing again
  cht.couch2pg.couch2pg_checkpoint:
    database: cht
    couchdb_url: "{{ vault_couchdb_url }}"

- name: Rename checkpoints, because CouchDB has another name on the new server
  cht.couch2pg.couch2pg_checkpoint:
    database: cht
    couchdb_url: "{{ vault_couchdb_url }}"
    sync:
      SYNC_DB_LOGS: "false"
    rename: true
"""

RETURN = r"""
checkpoints:
  description:
    - Each followed database with its key and the number of the stored sequence.
    - C(instead) is the other key under which the checkpoint is stored, and which O(rename) would change.
  returned: success
  type: list
  elements: dict
  sample: [{database: medic, key: couch.example.org/medic, seq: 1508, instead: null}]
renamed:
  description: The keys that the module renamed, or would rename in check mode.
  returned: success
  type: list
  elements: dict
  sample: [{before: "couch.example.org:443/medic", after: couch.example.org/medic}]
problems:
  description: What in the URL leads to an unexpected key, each with what to do.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import checkpoint
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.couchdb import url as couchdb_url
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session

OPTIONS: dict[str, Option] = {
    # Both contain passwords.
    "settings": {"type": "str", "no_log": True},
    "couchdb_url": {"type": "str", "no_log": True},
    "sync": {"type": "dict", "default": {}},
    "rename": {"type": "bool", "default": False},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, OPTIONS, required_one_of=[("settings", "couchdb_url")])
    options = module.params
    settings = connection_settings(module)

    def work() -> Mapping[str, object]:
        captured = couch2pg_settings.parse_json(options["settings"]) if options["settings"] else None
        url = (
            couchdb_url.parse(options["couchdb_url"])
            if captured is None or options["couchdb_url"]
            else captured.couchdb
        )
        switches = {name: str(value) for name, value in options["sync"].items()}
        followed = url.followed(switches if captured is None or switches else captured.variables)
        with Session(settings) as session:
            found = checkpoint.checkpoints(session, followed)
            changes = checkpoint.renames(found) if options["rename"] else []
            if changes and not module.check_mode:
                checkpoint.rename(session, changes)
                found = checkpoint.checkpoints(session, followed)
        predicted = {change["after"] for change in changes}
        checkpoint.check([entry for entry in found if entry.followed.key not in predicted])
        diff = {
            "before": "".join(f"{change['before']}\n" for change in changes),
            "after": "".join(f"{change['after']}\n" for change in changes),
        }
        return {
            "changed": bool(changes),
            "checkpoints": [entry.as_dict() for entry in found],
            "renamed": changes,
            "problems": url.problems,
            "diff": diff,
        }

    run(module, work)


if __name__ == "__main__":
    main()
