#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate of a transfer, on the source."""

from __future__ import annotations

DOCUMENTATION = r"""
module: transfer_gate
short_description: Give a key temporary read access to one archive on the source
version_added: 0.2.0
description:
  - Opens the gate, a line in the C(authorized_keys) of the user that runs this, with C(restrict), a forced command, an expiry,
    and a mark of the migration.
    The forced command is a script of this collection. It serves that one folder, read-only, and nothing else.
  - Closes it again with O(state=closed), and ends what it still serves. Opening and closing take away lines of this migration
    that an earlier run left, and expired ones of any migration. Nothing else in C(authorized_keys) is touched.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes
  - cht.couch2pg.migration
options:
  state:
    description: Whether the gate is open or closed.
    type: str
    default: open
    choices: [open, closed]
  archive:
    description: Folder of the archive; needed with O(state=open).
    type: path
  public_key:
    description: RV(cht.couch2pg.transfer_key#module:public_key) of the target; needed with O(state=open).
    type: str
  hours:
    description: How many hours the key is valid.
    type: float
    default: 24
  address:
    description: Address of this host as the target sees it. Host keys are only read from it if the address belongs to this host.
    type: str
    default: ""
  port:
    description: Port of this host's sshd.
    type: int
    default: 22
"""

EXAMPLES = r"""
- name: Let the target read the archive
  cht.couch2pg.transfer_gate:
    archive: /srv/staging/cht-2026
    migration_id: cht-2026
    state_dir: ~/couch2pg
    public_key: "{{ key.public_key }}"
  delegate_to: old.example.org
  register: gate

- name: Close it again
  cht.couch2pg.transfer_gate:
    state: closed
    migration_id: cht-2026
    state_dir: ~/couch2pg
  delegate_to: old.example.org
"""

RETURN = r"""
user:
  description: The user that the key logs in as.
  returned: with O(state=open), unless in check mode
  type: str
  sample: postgres
authorized_keys:
  description: The file that contains the line.
  returned: with O(state=open), unless in check mode
  type: str
  sample: /var/lib/postgresql/.ssh/authorized_keys
expires:
  description: When the key expires, in seconds since the epoch.
  returned: with O(state=open), unless in check mode
  type: int
  sample: 1795600000
host_keys:
  description: The host keys of this host's sshd; the target accepts only these.
  returned: with O(state=open), unless in check mode
  type: list
  elements: str
  sample: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI]
"""

import sys
import time
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module, run
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.options import MIGRATION_OPTIONS
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import authorized_keys, host_keys

OPTIONS: dict[str, Any] = {
    "state": {"type": "str", "default": "open", "choices": ["open", "closed"]},
    "archive": {"type": "path"},
    "public_key": {"type": "str", "no_log": False},
    "hours": {"type": "float", "default": 24},
    "address": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 22},
}


def main() -> None:
    """Entry point."""
    # In check mode there is no key yet.
    module = make_module(MIGRATION_OPTIONS, OPTIONS)
    options = module.params
    if options["state"] == "open" and not module.check_mode and not (options["archive"] and options["public_key"]):
        module.fail_json(msg="To open the gate, archive and public_key must be given.", code="option_missing")

    def work() -> dict[str, Any]:
        now = time.time()
        if options["state"] == "closed":
            found = authorized_keys.close_gate(
                options["state_dir"], options["migration_id"], now, write=not module.check_mode
            )
            return {"changed": found, "diff": {"before": "open\n" if found else "", "after": ""}}
        diff = {"before": "", "after": "open\n"}
        if module.check_mode:
            return {"changed": True, "diff": diff}
        opened = authorized_keys.open_gate(options, sys.executable, now)
        return dict(opened, host_keys=host_keys.host_keys(options["address"], options["port"]), changed=True, diff=diff)

    run(module, work)


if __name__ == "__main__":
    main()
