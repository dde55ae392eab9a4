#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row counts and content digests of tables."""

from __future__ import annotations

DOCUMENTATION = r"""
module: table_info
short_description: Count and digest the rows of tables inside one snapshot
version_added: 0.1.0
description:
  - Counts the rows of each table and computes a digest of their content, in parallel and inside one snapshot. Needs no primary key.
  - Two tables with equal rows have equal digests on any two servers, whatever the order of rows, physical layout or major version.
    A row that is lost, doubled or changed changes the digest.
  - The module leaves out members of extensions and foreign tables.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
options:
  tables:
    description: Tables to digest, by C(schema.name) or just by name. Empty means all.
    type: list
    elements: str
    default: []
  digest_method:
    description:
      - V(auto) uses V(hash64) if the server supports it (PostgreSQL 11), else V(md5). To compare two servers, use what the older one
        supports.
      - V(hash64), V(hash128) and V(md5) are exact; V(semantic) is fast but treats C(1.0) and C(1.00) in a document as equal.
    type: str
    default: auto
    choices: [auto, hash64, hash128, md5, semantic]
  jobs:
    description: Number of workers. Each uses a connection and about one core of the server.
    type: int
    default: 2
notes:
  - It reads every row. Use C(async) for tables that take longer than a connection lasts.
"""

EXAMPLES = r"""
- name: Count the rows of couchdb
  cht.couch2pg.table_info: {database: cht, tables: [couchdb]}
  register: before

- name: Show the number
  ansible.builtin.debug: {var: before.rows}

- name: Digest every table of a large database, for at most two hours
  cht.couch2pg.table_info:
    database: cht
    jobs: 4
  async: 7200
  poll: 30
  register: digests

- name: Digest two tables, wider
  cht.couch2pg.table_info:
    database: cht
    tables: [couchdb, couchdb_medic_logs]
    digest_method: hash128
"""

RETURN = r"""
tables:
  description: Rows and digest of every table, by name.
  returned: success
  type: list
  elements: dict
  sample: [{table: public.couchdb, rows: 1500000, digest: 0000000000000000000000000012ab34}]
rows:
  description: Rows of these tables together.
  returned: success
  type: int
  sample: 1500000
left_out:
  description: Tables that were left out, and why.
  returned: success
  type: list
  elements: dict
  sample: [{table: public.elsewhere, reason: "a foreign table: its rows are on another server", extension: ""}]
digest_method:
  description: The method of the digests; only digests of the same method can be compared.
  returned: success
  type: str
  sample: hash64
meaning:
  description: Which differences the method detects and which it doesn't.
  returned: success
  type: str
  sample: "PostgreSQL's 64-bit hash of each row's text: exact"
server_identity:
  description: System identifier of the server.
  returned: success
  type: str
  sample: "7711507270792592345"
taken_at:
  description: Time of the snapshot.
  returned: success
  type: str
  sample: "2026-11-23T23:00:00Z"
seconds:
  description: Time it took, in seconds.
  returned: success
  type: float
  sample: 4.6
"""

from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import connection_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence import table_digests
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.digest import METHODS

OPTIONS: dict[str, Option] = {
    "tables": {"type": "list", "elements": "str", "default": []},
    "digest_method": {"type": "str", "default": "auto", "choices": ["auto", *METHODS]},
    "jobs": {"type": "int", "default": 2},
}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, OPTIONS)
    settings = connection_settings(module)
    options = module.params

    def work() -> Mapping[str, object]:
        found = table_digests.take(settings, options["tables"], options["digest_method"], max(1, options["jobs"]))
        return dict(found, changed=False)

    run(module, work)


if __name__ == "__main__":
    main()
