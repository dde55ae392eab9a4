#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source of a transfer: its archive, and whether it can serve it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: transfer_source_info
short_description: Examine the archive on the source of a transfer
version_added: 0.2.0
description:
  - Returns which archive the source has, which user serves it, and reasons why its sshd may refuse that.
  - In check mode a missing archive is not an error.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
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
- name: Look at the archive on the source
  cht.couch2pg.transfer_source_info:
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
  delegate_to: old.example.org
  register: source
"""

RETURN = r"""
source:
  description: Facts for M(cht.couch2pg.transfer_way_info) and M(cht.couch2pg.archive_transfer).
  returned: success
  type: dict
  contains:
    archive:
      description: Folder of the archive; missing if there is none yet.
      type: str
    manifest_sha256:
      description: SHA-256 of its manifest, which identifies the archive.
      type: str
    manifest_bytes:
      description: Size of the manifest.
      type: int
    identity:
      description: What distinguishes this folder from a copy of it.
      type: dict
    bytes:
      description: Bytes of all its files.
      type: int
    files:
      description: Number of its files.
      type: int
    compressible:
      description: Whether its files are uncompressed.
      type: bool
    user:
      description: The user that serves it.
      type: str
    rsync:
      description: The path of rsync; empty when it is missing.
      type: str
    obstacles:
      description: Reasons why sshd may refuse the key, as far as this user can find out.
      type: list
      elements: str
  sample: {archive: /srv/staging/cht-2026, bytes: 430000000, files: 31, compressible: false, user: postgres, obstacles: []}
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import source as transfer_source

OPTIONS: dict[str, Any] = {
    "archive": {"type": "path", "required": True},
    "migration_id": {"type": "str", "required": True},
}


def main() -> None:
    """Entry point."""
    module = make_module(OPTIONS)

    def work() -> dict[str, Any]:
        try:
            found = transfer_source.examine(module.params["archive"], module.params["migration_id"])
        except MigrationError as error:
            if not (module.check_mode and error.code == "manifest_missing"):
                raise
            found = transfer_source.served_by()
        return {"changed": False, "source": found}

    run(module, work)


if __name__ == "__main__":
    main()
