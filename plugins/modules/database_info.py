#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a PostgreSQL server and one of its databases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_info
short_description: Tell what a PostgreSQL database holds and needs
version_added: 0.1.0
description:
  - Version and settings of the server, sizes of all its databases, and of every table, index, materialized view and TOAST of one of them.
  - Its encoding, collations, extensions, owners, grants and the roles involved.
  - Its materialized views in the order in which they can be refreshed.
  - The database is only read. What the login role may not see is missing or null.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
options: {}
"""

EXAMPLES = r"""
- name: Look at the database
  cht.couch2pg.database_info:
    database: cht
  register: cht

- name: Show the largest tables
  ansible.builtin.debug:
    msg: "{{ cht.relations[:5] | items2dict('name', 'total_bytes') }}"
"""

RETURN = r"""
server:
  description: Version, identity and settings of the server, and the rights of the login role.
  returned: success
  type: dict
  sample: {version: "16.14", major: 16, standby: false, superuser: true, settings: {max_wal_size: 1GB}}
databases:
  description: Every database of the server with its size (null where the login role may not connect).
  returned: success
  type: list
  elements: dict
  sample: [{name: cht, owner: couch2pg, encoding: UTF8, lc_collate: en_US.UTF-8, is_template: false, bytes: 2500000000}]
database:
  description: Owner, encoding, locale, settings, grants and size of the database.
  returned: success
  type: dict
  sample: {name: cht, owner: couch2pg, encoding: UTF8, bytes: 2500000000}
relations:
  description: Tables, views, materialized views and sequences, largest first, with bytes of heap, TOAST and indexes.
  returned: success
  type: list
  elements: dict
  sample: [{schema: public, name: couchdb, kind: table, heap_bytes: 800, toast_bytes: 900, index_bytes: 300, total_bytes: 2000}]
totals:
  description: Number of tables, and bytes of their heaps, TOAST and indexes, and of materialized views.
  returned: success
  type: dict
  sample: {tables: 8, heap_bytes: 800, toast_bytes: 900, index_bytes: 300, matview_bytes: 200}
left_out:
  description: Tables whose rows a migration doesn't carry over, and why.
  returned: success
  type: list
  elements: dict
  sample: []
indexes:
  description: Every index, whether it is unique, primary and valid.
  returned: success
  type: list
  elements: dict
  sample: [{schema: public, name: couchdb_doc_uuid, relation: public.couchdb, unique: true, primary: false, valid: true, bytes: 300}]
matviews:
  description:
    - Materialized views in the order in which they can be refreshed; those of one C(level) don't read one another.
    - C(depends_on) are other materialized views, C(reads) all relations, both also through plain views.
  returned: success
  type: list
  elements: dict
  sample: [{matview: public.contactview_metadata, populated: true, level: 0, depends_on: [], reads: [public.couchdb]}]
extensions:
  description: Extensions that are installed in the database, and those available on the server (null when it can't tell).
  returned: success
  type: dict
  sample: {installed: [{name: plpgsql, version: "1.0", schema: pg_catalog}], available: {plpgsql: "1.0"}}
collations:
  description: Collations that columns use beside the database's own.
  returned: success
  type: list
  elements: dict
  sample: []
owners_and_grants:
  description: Owner of, and grants on, every object that has an owner.
  returned: success
  type: list
  elements: dict
  sample: [{kind: tables, name: public.couchdb, owner: couch2pg, grants: [superset SELECT]}]
roles:
  description: Attributes of the roles that own something, were granted something or have settings here; never a password.
  returned: success
  type: list
  elements: dict
  sample: [{name: couch2pg, login: true, superuser: false}]
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import connection_settings, make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.bounded_session import (
    PREFLIGHT_LOCK_SECONDS,
    BoundedSession,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import facts


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS)
    settings = connection_settings(module)

    def work() -> dict[str, Any]:
        with BoundedSession(settings, PREFLIGHT_LOCK_SECONDS) as session:
            return dict(facts.collect(session), changed=False)

    run(module, work)


if __name__ == "__main__":
    main()
