#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What migrations have left on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: leftovers_info
short_description: List the databases and archives that migrations have left on a host
version_added: 0.1.0
description:
  - Lists databases with names that this collection assigns, and archives in the staging folder, with their sizes.
  - Nothing is removed.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.connection
options:
  database:
    description: Real name of the database.
    type: str
    required: true
  staging_dir:
    description: Folder for archives.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: List what is left
  cht.couch2pg.leftovers_info:
    database: cht
    staging_dir: /srv/staging
"""

RETURN = r"""
databases:
  description: Databases that were kept, with their sizes in bytes.
  returned: success
  type: list
  elements: dict
  sample: [{database: cht_replaced_20261123T221530, bytes: 77850000}]
archives:
  description: Archives, with their sizes in bytes, and whether they are complete.
  returned: success
  type: list
  elements: dict
  sample: [{archive: /srv/staging/cht, bytes: 8720000, complete: true}]
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import connection_settings, make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import leftovers
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import Session

OPTIONS: dict[str, Any] = {"staging_dir": {"type": "path", "required": True}}


def main() -> None:
    """Entry point."""
    module = make_module(CONNECTION_OPTIONS, OPTIONS)
    settings = connection_settings(module)

    def work() -> dict[str, Any]:
        with Session(settings.maintenance) as session:
            databases = leftovers.kept_databases(session, settings.database)
        return {"changed": False, "databases": databases, "archives": leftovers.archives(module.params["staging_dir"])}

    run(module, work)


if __name__ == "__main__":
    main()
