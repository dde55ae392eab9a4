#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a transfer before it starts: the archive on the source, and the way that it can take."""

from __future__ import annotations

DOCUMENTATION = r"""
module: transfer_info
short_description: Examine an archive on the source, and choose how the target reaches it or the source's server
version_added: 0.1.0
description:
  - On the source (without O(source)), tells which archive is there, which user would serve it, and what may keep sshd from serving it.
    In check mode an archive that does not exist yet is no error. Without O(archive), it tells only the user and the obstacles.
  - On the target (with O(source)), finds out whether this host sees the source's archive already, or reaches the source's sshd,
    and chooses the way. A transfer that was started is not switched to another way, even after its archive has arrived.
  - With O(server), chooses the way from the target to the source's PostgreSQL server instead.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
  - cht.couch2pg.migration
  - cht.couch2pg.gate_server
options:
  archive:
    description: Folder of the archive on this host. Required with O(source), unless O(server) is given.
    type: path
  source:
    description: RV(source) of the source; then this host is the target.
    type: dict
  way:
    description:
      - V(direct), this host fetches it with rsync over SSH. V(relay), it goes through the controller.
        V(local), both hosts see the same folder.
      - V(auto) uses V(local) if both see the same folder, else V(direct) if that is possible, else V(relay).
      - With O(server), V(direct) connects from this host, V(ssh) through the source's sshd, and V(controller) through the controller and
        the source's sshd. V(auto) uses V(direct) if that is possible, but V(ssh) on a slow network link, because ssh compresses. Else it
        uses V(ssh), else V(controller).
    type: str
    default: auto
    choices: [auto, direct, relay, local, ssh, controller]
  on_source:
    description: Whether O(server) runs on the source's own host, which V(ssh) requires.
    type: bool
    default: true
  controller:
    description: Whether Ansible logs in to both hosts with ssh and a key, which V(controller) requires.
    type: bool
    default: false
  replication:
    description: Whether the target must be able to copy the files of O(server).
    type: bool
    default: false
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
    state_dir: ~/couch2pg-migration
  delegate_to: old.example.org
  register: there

- name: Choose the way to the target
  cht.couch2pg.transfer_info:
    source: "{{ there.source }}"
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    address: old.example.org
  register: chosen
"""

RETURN = r"""
source:
  description: Facts of the source that the target needs, for O(source) and M(cht.couch2pg.archive_transfer).
  returned: without O(source)
  type: dict
  contains:
    archive:
      description: Folder of the archive; missing when there is none yet.
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
  description: V(direct), V(relay), V(local), V(ssh) or V(controller).
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
  description: Why this host can't fetch the archive directly, a sentence each.
  returned: with O(source)
  type: list
  elements: str
  sample: []
"""

from typing import Mapping, TypedDict

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.masking import with_names
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, predict_or_fail
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import server as gate_server
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import replication
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import container_server
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import partial_archive
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import source as transfer_source
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import way as transfer_way

OPTIONS: dict[str, Option] = {
    "archive": {"type": "path"},
    "source": {"type": "dict"},
    "server": {"type": "dict", "options": CONNECTION_OPTIONS},
    "on_source": {"type": "bool", "default": True},
    "controller": {"type": "bool", "default": False},
    "replication": {"type": "bool", "default": False},
    "way": {"type": "str", "default": "auto", "choices": [*transfer_way.CHOICES, "ssh", "controller"]},
    "address": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 22},
    "full": {"type": "bool", "default": False},
}


class Options(TypedDict):
    """The options of this module that the choice depends on. source: as another call has found it."""

    migration_id: str
    archive: str | None
    source: partial_archive.SourceArchive | None
    on_source: bool
    controller: bool
    replication: bool
    way: str
    address: str
    port: int


def _look_at_source(options: Options, check_mode: bool) -> partial_archive.SourceArchive:
    if not options["archive"]:
        return transfer_source.served_by()
    try:
        return transfer_source.examine(options["archive"], options["migration_id"])
    except MigrationError as error:
        if not (check_mode and error.code == "manifest_missing"):
            raise
        return transfer_source.served_by()


def _way_to_server(server: Mapping[str, object], options: Options) -> gate_server.Way:
    settings = ConnectionSettings.from_options(container_server.effective(server))
    return gate_server.choose(
        settings,
        options["way"],
        (options["address"], options["port"]),
        (options["source"] or {}).get("obstacles", []),
        options["on_source"],
        options["controller"],
        replication.check if options["replication"] else lambda _settings: None,
    )


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    if module.params["source"] is not None and not (module.params["archive"] or module.params["server"]):
        module.fail_json(msg="To choose a way, archive or server must be given.", code="option_missing")
    try:
        if module.params["server"]:
            found: Mapping[str, object] = _way_to_server(module.params["server"], module.params)
        elif module.params["source"] is None:
            found = {"source": _look_at_source(module.params, module.check_mode)}
        else:
            found = transfer_way.choose(module.params)
    except MigrationError as error:
        predict_or_fail(module, error)
    module.exit_json(**with_names(module, dict(found, changed=False)))


if __name__ == "__main__":
    main()
