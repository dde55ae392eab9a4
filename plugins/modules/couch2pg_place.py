#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See that couch2pg will go on from where it was, and repair a renamed server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_place
short_description: See that couch2pg will go on from where it was
version_added: 0.1.0
description:
  - Compares the keys that couch2pg will make of its C(COUCHDB_URL) with the rows of C(couchdb_progress),
    for every database that it follows.
  - Where a row is missing, couch2pg would download everything again. Then the module fails, or renames the row when O(rename)
    allows it.
  - Host, port, path, a trailing slash and a query string are all part of the key.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.connection
options:
  settings:
    description: couch2pg's settings, as M(cht.couch2pg.couch2pg_capture) returns them with O(ignore:with_secrets).
    type: str
  couchdb_url:
    description: The C(COUCHDB_URL) that couch2pg will have, where it isn't that of O(settings). Its credentials are not used.
    type: str
  sync:
    description:
      - Its variables C(SYNC_DB_MEDIC), C(SYNC_DB_SENTINEL), C(SYNC_DB_USER_META), C(SYNC_DB_LOGS) and C(SYNC_DB_USERS),
        where they are set. By default they are those of O(settings).
    type: dict
    default: {}
  rename:
    description:
      - Whether to give a place that is there under another key (of the same database on another server) the key that couch2pg
        will use.
    type: bool
    default: false
  marks:
    description:
      - The number of the newest change of each database by its key, as RV(cht.couch2pg.couchdb_info#module:marks) has them.
      - With them, RV(sync) tells how far couch2pg is behind CouchDB.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: See that nothing would be downloaded again
  cht.couch2pg.couch2pg_place:
    database: cht
    couchdb_url: "{{ vault_couchdb_url }}"

- name: CouchDB has another name as seen from the new server
  cht.couch2pg.couch2pg_place:
    database: cht
    couchdb_url: "{{ vault_couchdb_url }}"
    sync:
      SYNC_DB_LOGS: "false"
    rename: true

- name: Ask CouchDB where it is, on the host of couch2pg
  cht.couch2pg.couchdb_info:
    couchdb_url: "{{ vault_couchdb_url }}"
  register: couchdb

- name: See how far couch2pg is behind
  cht.couch2pg.couch2pg_place:
    database: cht
    couchdb_url: "{{ vault_couchdb_url }}"
    marks: "{{ couchdb.marks }}"
"""

RETURN = r"""
places:
  description: Each followed database with its key and the number of its stored sequence; C(instead) is a key that was renamed, or could be.
  returned: success
  type: list
  elements: dict
  sample: [{database: medic, key: couch.example.org/medic, seq: 1508, instead: null}]
renamed:
  description: The keys that were renamed, or would be.
  returned: success
  type: list
  elements: dict
  sample: [{before: "couch.example.org:443/medic", after: couch.example.org/medic}]
sync:
  description: Each followed database that has a mark, with the number of the stored sequence and how far it is behind.
  returned: success
  type: list
  elements: dict
  sample: [{database: medic, key: couch.example.org/medic, mark: 1508, stored: 1480, behind: 28, current: false}]
behind:
  description: Changes that couch2pg has yet to fetch, all databases together.
  returned: success
  type: int
  sample: 28
problems:
  description: What makes the URL another place than it looks like, each with what to do.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import connection_settings, make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import checkpoint, couchdb_sync
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.couchdb import url as couchdb_url
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import Session

OPTIONS: dict[str, Any] = {
    # They bear passwords.
    "settings": {"type": "str", "no_log": True},
    "couchdb_url": {"type": "str", "no_log": True},
    "sync": {"type": "dict", "default": {}},
    "rename": {"type": "bool", "default": False},
    "marks": {"type": "dict", "default": {}},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, OPTIONS, required_one_of=[("settings", "couchdb_url")])
    options = module.params
    settings = connection_settings(module)

    def work() -> dict[str, Any]:
        captured = couch2pg_settings.parse_json(options["settings"]) if options["settings"] else None
        url = (
            couchdb_url.parse(options["couchdb_url"])
            if captured is None or options["couchdb_url"]
            else captured.couchdb
        )
        switches = {name: str(value) for name, value in options["sync"].items()}
        followed = url.followed(switches if captured is None or switches else captured.variables)
        with Session(settings) as session:
            found = checkpoint.places(session, followed)
            changes = checkpoint.renames(found) if options["rename"] else []
            if changes and not module.check_mode:
                checkpoint.rename(session, changes)
                found = checkpoint.places(session, followed)
        marks = {key: couchdb_url.seq_number(mark) for key, mark in options["marks"].items()}
        sync = [entry.as_dict() for entry in couchdb_sync.compare(found, marks)]
        foreseen = {change["after"] for change in changes}
        checkpoint.check([place for place in found if place.followed.key not in foreseen])
        diff = {
            "before": "".join(f"{change['before']}\n" for change in changes),
            "after": "".join(f"{change['after']}\n" for change in changes),
        }
        return {
            "changed": bool(changes),
            "places": [place.as_dict() for place in found],
            "renamed": changes,
            "sync": sync,
            "behind": sum(entry["behind"] for entry in sync),
            "problems": url.problems,
            "diff": diff,
        }

    run(module, work)


if __name__ == "__main__":
    main()
