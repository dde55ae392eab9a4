#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key with which the target fetches an archive, or reaches a server: made on the target, authorized on the source."""

from __future__ import annotations

DOCUMENTATION = r"""
module: transfer_key
short_description: Create a key for a copy on the target, and authorize it on the source
version_added: 0.1.0
description:
  - With O(side=target), creates an ed25519 key (0600) in the folder of the job that will use it. A running job keeps its key.
    The job removes the key when it ends. O(state=absent) removes the key of a killed job, but not that of a running one.
  - With O(side=source), adds a line to the C(authorized_keys) of the user that runs this module, with C(restrict), an expiry,
    a mark of the migration, and a script of this collection as the forced command. The script serves the folder of O(archive),
    read-only, or connects to O(server), and nothing else. O(state=absent) removes the line and ends the programs that still serve it.
  - On the source, either state also removes lines that an earlier run of this migration left, and expired lines of any migration.
    Nothing else in C(authorized_keys) is touched.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
  - cht.couch2pg.gate_server
options:
  side:
    description: Whether this host is the target, which has the key, or the source, which authorizes it.
    type: str
    default: target
    choices: [target, source]
  state:
    description: Whether the key exists.
    type: str
    default: present
    choices: [present, absent]
  kind:
    description: Kind of the job on the target that will use the key.
    type: str
    default: transfer
    choices: [transfer, early_transfer, restore]
  archive:
    description: Folder of the archive on the source. Required there with O(state=present), unless O(server) is given.
    type: path
  public_key:
    description: RV(public_key) of the target. Required on the source with O(state=present).
    type: str
  hours:
    description: How long the source accepts the key.
    type: float
    default: 24
  address:
    description:
      - Address of the source as the target sees it, for O(side=source).
      - The module asks the source's sshd for its host keys only where the address is this host's own.
    type: str
    default: ""
  port:
    description: Port of the source's sshd, for O(side=source).
    type: int
    default: 22
"""

EXAMPLES = r"""
- name: Make the key on the target
  cht.couch2pg.transfer_key:
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
  register: key

- name: Let it read the archive on the source
  cht.couch2pg.transfer_key:
    side: source
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg-migration
    public_key: "{{ key.public_key }}"
  delegate_to: old.example.org
  register: authorized
"""

RETURN = r"""
public_key:
  description: The public half of the key.
  returned: with O(side=target) and O(state=present), unless in check mode
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI
running:
  description: Whether a running job uses the key.
  returned: with O(side=target), unless O(state=present) in check mode
  type: bool
  sample: false
user:
  description: The user that the key logs in as.
  returned: with O(side=source) and O(state=present), unless in check mode
  type: str
  sample: postgres
authorized_keys:
  description: The file that has the line.
  returned: with O(side=source) and O(state=present), unless in check mode
  type: str
  sample: /var/lib/postgresql/.ssh/authorized_keys
expires:
  description: When the key expires, in seconds since 1970.
  returned: with O(side=source) and O(state=present), unless in check mode
  type: int
  sample: 1795600000
port:
  description: A free port of this host, which a way through the controller can use.
  returned: with O(side=target) and O(state=present), unless in check mode
  type: int
  sample: 40123
host_keys:
  description: The host keys of this host's sshd. M(cht.couch2pg.archive_transfer) accepts no others.
  returned: with O(side=source) and O(state=present), unless in check mode
  type: list
  elements: str
  sample: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI]
"""

import sys
import time
from typing import Mapping, TypedDict

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import CONNECTION_OPTIONS, MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import authorized_keys, host_keys
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import key as gate_key
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import server as gate_server
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import container_server
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings

OPTIONS: dict[str, Option] = {
    "side": {"type": "str", "default": "target", "choices": ["target", "source"]},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "kind": {"type": "str", "default": "transfer", "choices": ["transfer", "early_transfer", "restore"]},
    "archive": {"type": "path"},
    "server": {"type": "dict", "options": CONNECTION_OPTIONS},
    "public_key": {"type": "str", "no_log": False},
    "hours": {"type": "float", "default": 24},
    "address": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 22},
}


class Options(TypedDict):
    """The options of this module that the work depends on."""

    side: str
    state: str
    kind: str
    state_dir: str
    migration_id: str
    archive: str | None
    server: dict[str, object] | None
    public_key: str | None
    hours: float
    address: str
    port: int


def _on_target(options: Options, check_mode: bool) -> Mapping[str, object]:
    folder = job.job_folder(options["state_dir"], options["migration_id"], options["kind"])
    if options["state"] == "absent":
        removed = gate_key.remove(folder, write=not check_mode)
        running = job.read_state(folder).status == "running"
        return {"changed": removed, "running": running, "diff": {"before": "a key\n" if removed else "", "after": ""}}
    diff = {"before": "", "after": "a key\n"}
    if check_mode:
        return {"changed": True, "diff": diff}
    made = gate_key.make(folder)
    return dict(made, changed=not made["running"], diff=diff)


def _on_source(options: Options, check_mode: bool) -> Mapping[str, object]:
    now = time.time()
    if options["state"] == "absent":
        found = authorized_keys.close_gate(options["state_dir"], options["migration_id"], now, write=not check_mode)
        return {"changed": found, "diff": {"before": "authorized\n" if found else "", "after": ""}}
    diff = {"before": "", "after": "authorized\n"}
    if check_mode:
        return {"changed": True, "diff": diff}
    server = None
    if options["server"]:
        server = gate_server.place(ConnectionSettings.from_options(container_server.effective(options["server"])))
    wanted: authorized_keys.Wanted = {
        "state_dir": options["state_dir"],
        "migration_id": options["migration_id"],
        "public_key": options["public_key"] or "",
        "hours": options["hours"],
        "archive": options["archive"],
        "server": server,
    }
    opened = authorized_keys.open_gate(wanted, sys.executable, now)
    return dict(opened, host_keys=host_keys.host_keys(options["address"], options["port"]), changed=True, diff=diff)


def main() -> None:
    """Entry point."""
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options: Options = module.params
    needed = options["side"] == "source" and options["state"] == "present"
    # In check mode there is no key yet.
    if needed and not module.check_mode and not ((options["archive"] or options["server"]) and options["public_key"]):
        module.fail_json(
            msg="To authorize a key, public_key and archive or server must be given.", code="option_missing"
        )
    work = _on_source if options["side"] == "source" else _on_target
    run(module, lambda: work(options, module.check_mode))


if __name__ == "__main__":
    main()
