#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look up in CouchDB the documents in which source and target differ."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_reconcile
short_description: Check whether differing documents are lost, or changed later
version_added: 0.1.0
description:
  - Takes the documents in which source and target differ, and looks each of them up in CouchDB.
  - A document that CouchDB changed or deleted after the target's checkpoint is no loss, because couch2pg will fetch the change. When the
    target has CouchDB's revision, the source is behind. Any other document is lost or duplicated, and the module fails.
  - The module reads a document that seems lost again from the target first, because couch2pg deletes a document before it inserts it.
  - Runs on a host that reaches CouchDB and the target's PostgreSQL, such as couch2pg's host.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.reach
options:
  settings_file:
    description: File on this host with the settings of the target's couch2pg, as M(cht.couch2pg.couch2pg_settings) wrote it.
    type: path
    required: true
  source:
    description: RV(cht.couch2pg.document_digest#module:documents) of the source; empty when no bucket differs.
    type: str
    default: ""
  target:
    description: RV(cht.couch2pg.document_digest#module:documents) of the target, for the same buckets.
    type: str
    default: ""
  progress:
    description: RV(cht.couch2pg.document_digest#module:progress) of that call for the target.
    type: dict
    default: {}
  migration_id:
    description: Name of the migration, for the commands in messages.
    type: str
  listed:
    description: How many lost or duplicated documents to name.
    type: int
    default: 20
requirements:
  - psycopg2 (Debian and Ubuntu python3-psycopg2) on the managed host
"""

EXAMPLES = r"""
- name: Check whether documents are lost
  cht.couch2pg.couch2pg_reconcile:
    settings_file: ~/couch2pg-migration/cht/couch2pg.json
    source: "{{ source_documents.documents }}"
    target: "{{ target_documents.documents }}"
    progress: "{{ target_documents.progress }}"
"""

RETURN = r"""
differences:
  description: Documents in which source and target differ.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 12
source_behind:
  description: Documents of which the target has CouchDB's revision.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 7
changed_since:
  description: Documents that CouchDB changed or deleted after the target's checkpoint.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 4
deleted:
  description: Documents that CouchDB no longer has.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 1
lost:
  description: Documents that CouchDB has and the target lacks, or has in an older revision.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 0
doubled:
  description: Documents that the target has more than once.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 0
documents:
  description: Table, C(_id) and verdict of the first lost or duplicated documents.
  returned: success, and in C(details) when documents are lost
  type: list
  elements: dict
  sample: []
"""

from pathlib import Path
from typing import Mapping

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.connection import require_psycopg2
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import REACH_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common import restart
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import access as couch2pg_access
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import reconciliation
from ansible_collections.cht.couch2pg.plugins.module_utils.handover.document_buckets import unpack_documents
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session

OPTIONS: dict[str, Option] = {
    "settings_file": {"type": "path", "required": True},
    "source": {"type": "str", "default": ""},
    "target": {"type": "str", "default": ""},
    "progress": {"type": "dict", "default": {}},
    "listed": {"type": "int", "default": 20},
    "migration_id": {"type": "str"},
}


def main() -> None:
    """Entry point."""
    module = make_module(REACH_OPTIONS, OPTIONS)
    require_psycopg2(module)
    options = module.params

    def work() -> Mapping[str, object]:
        settings = couch2pg_settings.load(Path(options["settings_file"]))
        reach = couch2pg_access.Reach.of(options)
        place = couch2pg_access.connection(reach.postgres(settings))
        followed = couch2pg_access.followed(settings)
        source, target = (
            reconciliation.Side.of(unpack_documents(options[name]) if options[name] else [])
            for name in ("source", "target")
        )
        verdicts = reconciliation.reconcile(
            reach.couchdb(settings),
            followed,
            source,
            target,
            {key: str(seq) for key, seq in options["progress"].items()},
            lambda: Session(place),
        )
        found = reconciliation.summary(verdicts, max(0, options["listed"]))
        if found["lost"] or found["doubled"]:
            raise MigrationError(
                f"Documents of CouchDB that are missing or older on the target: {found['lost']}; that are there more than once: "
                f"{found['doubled']}. The details name the first of them. To repair that, stop couch2pg on the target, run in its database "
                f"{place.database}: {reconciliation.begin_again(verdicts, followed)} Then run again: couch2pg downloads all documents of "
                f"these databases again, and replaces their rows. {_otherwise(options['migration_id'] or '')}",
                "documents_lost",
                **found,
            )
        return dict(found, changed=False)

    run(module, work)


def _otherwise(migration_id: str) -> str:
    """What to do instead of the repair."""
    if restart.rehearses(migration_id):
        return f"Or make the copy again, from a new dump: {restart.command('dump')}"
    return "Or roll back (ansible-playbook cht.couch2pg.rollback -i inventory.yml), and migrate again with another couch2pg_migration_id."


if __name__ == "__main__":
    main()
