#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a transfer before it starts: the archive on the source, and the way that it can take."""

from __future__ import annotations

DOCUMENTATION = r"""
module: transfer_info
short_description: Look at an archive on the source, and choose its way to the target
version_added: 0.1.0
description:
  - On the source (without O(source)), tells which archive is there, which user would serve it, and what may keep sshd from serving it.
    In check mode an archive that does not exist yet is no error.
  - On the target (with O(source)), finds out whether this host sees the source's archive already, or reaches the source's sshd,
    and chooses the way. A transfer that was started is not switched to another way, also after its archive has arrived.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.migration
options:
  archive:
    description: Folder of the archive on this host.
    type: path
    required: true
  source:
    description: RV(source) of the source; then this host is the target.
    type: dict
  way:
    description:
      - V(direct), this host fetches it with rsync over SSH. V(relay), it goes through the controller.
        V(local), both hosts see the same folder.
      - V(auto) takes V(local) where that is so, else V(direct) where that is possible, else V(relay).
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
    description: Whether the next transfer reads and hashes every file of an archive that has arrived already.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look at the archive on the source
  cht.couch2pg.transfer_info:
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg
  delegate_to: old.example.org
  register: there

- name: Choose the way to the target
  cht.couch2pg.transfer_info:
    source: "{{ there.source }}"
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg
    address: old.example.org
  register: chosen
"""

RETURN = r"""
source:
  description: What the target has to know of the source, for O(source) and M(cht.couch2pg.archive_transfer).
  returned: without O(source)
  type: dict
  contains:
    archive:
      description: Folder of the archive; missing when there is none yet.
      type: str
    manifest_sha256:
      description: SHA-256 of its manifest, which tells archives apart.
      type: str
    manifest_bytes:
      description: Size of the manifest.
      type: int
    identity:
      description: What tells this folder from a copy of it.
      type: dict
    bytes:
      description: Bytes of all its files.
      type: int
    files:
      description: Number of its files.
      type: int
    compressible:
      description: Whether its files are not compressed already.
      type: bool
    user:
      description: The user that serves it.
      type: str
    rsync:
      description: The path of rsync; empty when it is missing.
      type: str
    obstacles:
      description: What may keep sshd from serving it, as far as this user can see.
      type: list
      elements: str
  sample: {archive: /srv/staging/cht-2026, bytes: 430000000, files: 31, compressible: false, user: postgres, obstacles: []}
way:
  description: V(direct), V(relay) or V(local).
  returned: with O(source)
  type: str
  sample: direct
reason:
  description: Why.
  returned: with O(source)
  type: str
  sample: the target reaches the source's sshd
done:
  description: Whether the archive has arrived already and was not touched since.
  returned: with O(source)
  type: bool
  sample: false
blocked:
  description: What keeps the archive from going directly, a sentence each.
  returned: with O(source)
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, predict_or_fail
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import partial_archive
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import source as transfer_source
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import way as transfer_way

OPTIONS: dict[str, Any] = {
    "archive": {"type": "path", "required": True},
    "source": {"type": "dict"},
    "way": {"type": "str", "default": "auto", "choices": list(transfer_way.CHOICES)},
    "address": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 22},
    "full": {"type": "bool", "default": False},
}


def _look_at_source(options: dict[str, Any], check_mode: bool) -> partial_archive.SourceArchive:
    try:
        return transfer_source.examine(options["archive"], options["migration_id"])
    except MigrationError as error:
        if not (check_mode and error.code == "manifest_missing"):
            raise
        return transfer_source.served_by()


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    try:
        if module.params["source"] is None:
            found: dict[str, Any] = {"source": _look_at_source(module.params, module.check_mode)}
        else:
            found = transfer_way.choose(module.params)
    except MigrationError as error:
        predict_or_fail(module, error)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
