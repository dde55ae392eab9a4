#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove an archive that is no longer needed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: archive_remove
short_description: Remove an archive by its manifest
version_added: 0.1.0
description:
  - Removes the files that the manifest of the archive names, the folders that are empty then, and a half-done archive beside it.
  - What is unknown in the folder is left and listed, and the folder with it.
  - One that is gone already is no failure; the archive of another migration is.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
options:
  archive:
    description: Folder of the archive.
    type: path
    required: true
  migration_id:
    description: Name of the migration that the archive must belong to.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Remove the archive of a rehearsal
  cht.couch2pg.archive_remove:
    archive: /srv/staging/cht_rehearsal_20261126T010500
    migration_id: cht_rehearsal_20261126T010500
"""

RETURN = r"""
bytes:
  description: Bytes of the files that were removed.
  returned: success
  type: int
  sample: 430000000
left:
  description: Files in the folder that the manifest doesn't name, and that are left.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils import archive_removal
from ansible_collections.cht.couch2pg.plugins.module_utils._adapter import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.files import expand

OPTIONS = {"archive": {"type": "path", "required": True}, "migration_id": {"type": "str", "required": True}}


def main() -> None:
    """Entry point."""
    module = make_module(OPTIONS)
    root = expand(module.params["archive"])

    def work() -> dict[str, Any]:
        planned = archive_removal.plan(root, module.params["migration_id"])
        there = [f"{root}/{path}" for path in planned["files"]]
        there += [planned["half_done"]] if planned["half_done"] else []
        # With its last file the manifest goes, too.
        changed = bool(there) or (root.exists() and not planned["left"])
        if not module.check_mode:
            archive_removal.remove(root, planned)
        diff = {"before": "".join(f"{path}\n" for path in there), "after": ""}
        return {"changed": changed, "diff": diff, "bytes": planned["bytes"], "left": planned["left"]}

    run(module, work)


if __name__ == "__main__":
    main()
