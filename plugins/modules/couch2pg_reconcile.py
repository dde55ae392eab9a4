#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look up in CouchDB what source and target have differently of the documents."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couch2pg_reconcile
short_description: Tell whether documents are lost, or only changed since
version_added: 0.1.0
description:
  - Takes the documents in which source and target differ, and looks each of them up in CouchDB.
  - What CouchDB changed or deleted after the target's stored sequence will come with couch2pg. Where the target has what CouchDB
    has, the source is behind. All else is lost, or there twice, and the module fails.
  - What seems to be lost is read once more from the target before that is said, since couch2pg deletes a document before it inserts it.
  - Runs where CouchDB and the target's PostgreSQL can be reached, as on the host where couch2pg runs.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.reach
options:
  settings_file:
    description: The settings of the target's couch2pg, stored on this host with mode 0600.
    type: path
    required: true
  source:
    description: C(documents) of M(cht.couch2pg.document_buckets_info) for the source; empty when no bucket differs.
    type: str
    default: ""
  target:
    description: The same of the target, for the same buckets.
    type: str
    default: ""
  progress:
    description: RV(cht.couch2pg.document_buckets_info#module:progress) of that call for the target.
    type: dict
    default: {}
  listed:
    description: How many of the documents that are lost, or there twice, are named.
    type: int
    default: 20
requirements:
  - psycopg2 (Debian and Ubuntu python3-psycopg2) on the managed host
"""

EXAMPLES = r"""
- name: See whether anything is lost
  cht.couch2pg.couch2pg_reconcile:
    settings_file: ~/couch2pg-migration/cht/couch2pg.json
    source: "{{ source_documents.documents }}"
    target: "{{ target_documents.documents }}"
    progress: "{{ target_documents.progress }}"
"""

RETURN = r"""
differences:
  description: Documents that source and target don't hold alike.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 12
source_behind:
  description: Those of which the target has CouchDB's revision.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 7
changed_since:
  description: Those that CouchDB changed or deleted after the target's stored sequence.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 4
deleted:
  description: Those that CouchDB doesn't have any more.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 1
lost:
  description: Those that CouchDB has and the target lacks, or has in an older revision.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 0
doubled:
  description: Those that the target has more than once.
  returned: success, and in C(details) when documents are lost
  type: int
  sample: 0
documents:
  description: Table, C(_id) and verdict of the first that are lost or doubled.
  returned: success, and in C(details) when documents are lost
  type: list
  elements: dict
  sample: []
"""

from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, require_psycopg2, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import REACH_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import access as couch2pg_access
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import reconciliation
from ansible_collections.cht.couch2pg.plugins.module_utils.handover.document_buckets import unpack_documents
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import Session

OPTIONS: dict[str, Any] = {
    "settings_file": {"type": "path", "required": True},
    "source": {"type": "str", "default": ""},
    "target": {"type": "str", "default": ""},
    "progress": {"type": "dict", "default": {}},
    "listed": {"type": "int", "default": 20},
}


def main() -> None:
    """Entry point."""
    module = make_module(REACH_OPTIONS, OPTIONS)
    require_psycopg2(module)
    options = module.params

    def work() -> dict[str, Any]:
        settings = couch2pg_settings.load(Path(options["settings_file"]))
        reach = couch2pg_access.Reach.of(options)
        place = couch2pg_access.connection(reach.postgres(settings))
        source, target = (
            reconciliation.Side.of(unpack_documents(options[name]) if options[name] else [])
            for name in ("source", "target")
        )
        verdicts = reconciliation.reconcile(
            reach.couchdb(settings),
            couch2pg_access.followed(settings),
            source,
            target,
            {key: str(seq) for key, seq in options["progress"].items()},
            lambda: Session(place),
        )
        found = reconciliation.summary(verdicts, max(0, options["listed"]))
        if found["lost"] or found["doubled"]:
            raise MigrationError(
                f"The target lacks {found['lost']} documents that CouchDB has, or has them in an older revision, and has "
                f"{found['doubled']} more than once; couch2pg won't mend that by itself. The details name the first of them. Restore "
                "again, or delete these rows and set couchdb_progress back to a sequence before them.",
                "documents_lost",
                **found,
            )
        return dict(found, changed=False)

    run(module, work)


if __name__ == "__main__":
    main()
