#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way the archive takes to this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: transfer_way_info
short_description: Choose how an archive is transferred to the target
version_added: 0.2.0
description:
  - Checks whether the source's archive is visible on this host, or whether this host reaches the source's sshd, and chooses the way.
  - A transfer keeps its way while it is running and after it has completed the archive.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.migration
options:
  source:
    description: RV(cht.couch2pg.transfer_source_info#module:source) of the source.
    type: dict
    required: true
  archive:
    description: Folder of the archive on this host.
    type: path
    required: true
  way:
    description:
      - V(direct), this host fetches it with rsync over SSH. V(relay), the controller copies it.
        V(local), both hosts share the folder.
      - V(auto) uses V(local) if the folder is shared, else V(direct) if that is possible, else V(relay).
    type: str
    default: auto
    choices: [auto, direct, relay, local]
  address:
    description: Address of the source as this host sees it.
    type: str
    default: ""
  port:
    description: Port of the source's sshd.
    type: int
    default: 22
  full:
    description: Whether an archive on this host is checked again completely, so that it does not count as done.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Choose the way
  cht.couch2pg.transfer_way_info:
    source: "{{ source.source }}"
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg
    address: old.example.org
"""

RETURN = r"""
way:
  description: V(direct), V(relay) or V(local).
  returned: success
  type: str
  sample: direct
reason:
  description: Why this way was chosen.
  returned: success
  type: str
  sample: the target reaches the source's sshd
done:
  description: Whether the archive was transferred and has not changed since.
  returned: success
  type: bool
  sample: false
blocked:
  description: Reasons why a direct transfer is not possible, as sentences.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, predict_or_fail
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import way as transfer_way

OPTIONS: dict[str, Any] = {
    "source": {"type": "dict", "required": True},
    "archive": {"type": "path", "required": True},
    "way": {"type": "str", "default": "auto", "choices": list(transfer_way.CHOICES)},
    "address": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 22},
    "full": {"type": "bool", "default": False},
}


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    try:
        found = transfer_way.choose(module.params)
    except MigrationError as error:
        predict_or_fail(module, error)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
