#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive that goes through the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: archive_relay
short_description: Copy an archive from host to host through the controller
version_added: 0.2.0
description:
  - Reads the archive on the source and writes it on the target, over Ansible's connections to both, with their settings
    (bastion, port, password, become). The hosts need not reach each other, and need no program other than a shell.
  - The data passes through the controller's memory, some megabytes at a time. Nothing is written to its disk.
  - Resumes after an interruption, even in the middle of a file, and reconnects when a connection is lost.
    M(cht.couch2pg.archive_transfer) with C(way=relay) then verifies every file.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  archive:
    description: Folder of the archive on the target.
    type: path
    required: true
  source:
    description: RV(cht.couch2pg.transfer_source_info#module:source) of the source.
    type: dict
    required: true
  source_host:
    description: Inventory name of the source.
    type: str
    required: true
  source_become:
    description: Whether to become another user on the source.
    type: bool
    default: false
  source_become_user:
    description: The user to become on the source.
    type: str
    default: ""
  bandwidth_limit:
    description: Maximum bytes per second; V(0) for no limit.
    type: int
    default: 0
  silence:
    description: Seconds without an answer after which the connection is opened again.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Copy the archive through the controller
  cht.couch2pg.archive_relay:
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg
    source: "{{ source.source }}"
    source_host: old.example.org
    source_become: true
    source_become_user: postgres
"""

RETURN = r"""
carried_bytes:
  description: Bytes that were copied.
  returned: success
  type: int
  sample: 430000000
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import relay

OPTIONS: dict[str, Any] = {
    "archive": {"type": "path", "required": True},
    "source": {"type": "dict", "required": True},
    "source_host": {"type": "str", "required": True},
    "source_become": {"type": "bool", "default": False},
    "source_become_user": {"type": "str", "default": ""},
    "bandwidth_limit": {"type": "int", "default": 0},
    "silence": {"type": "int", "default": 60},
}


def main() -> None:
    """Entry point: list the missing bytes. The action plugin of the same name copies them."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    if module.check_mode:
        module.exit_json(changed=True)
    run(module, lambda: dict(relay.missing(module.params), changed=False))


if __name__ == "__main__":
    main()
