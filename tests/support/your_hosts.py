# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away hosts in place of those of an inventory: their names, groups and variables, and nothing that leads to them.

python -m support.your_hosts INVENTORY    # prints what ``support.hosts`` wants
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping

from .migration import ROOT
from .places import SupportError

GROUPS = ("couch2pg_source", "couch2pg_target", "couch2pg_app_source", "couch2pg_app_target")
# Of Ansible's own variables only these are about what a host is; the others say how to get to it.
KEPT = ("ansible_pipelining",)
# And of ours (those of the roles, too), these lead to real servers and programs, or say how something is kept that isn't there.
OURS = ("couch2pg", *sorted(path.name for path in (ROOT / "roles").iterdir()))
LEFT = re.compile(
    rf"ansible_|(?:{'|'.join(OURS)})_(?:\w*_)?"
    r"(?:login_|ssl_|connect_params|maintenance_database|ca_cert|become|bin_dir|app|couchdb|postgres|address|port|user|\w*host|"
    r"superset|klipfolio|cutover|dashboard|cleanup|handover\b)"
)
SUITES = {
    "couch2pg_source": os.environ.get("COUCH2PG_REHEARSAL_SOURCE_SUITE") or "bookworm",
    "couch2pg_target": os.environ.get("COUCH2PG_REHEARSAL_TARGET_SUITE") or "bookworm",
}


def stand_ins(inventory: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One for each host of our groups, from what ``ansible-inventory --list`` says. Raises ``SupportError`` if there is none."""
    found: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        for name in _members(inventory, group):
            variables = inventory["_meta"]["hostvars"].get(name, {})
            host = found.setdefault(
                name,
                {
                    "name": name,
                    "groups": [],
                    "suite": SUITES.get(group, "bookworm"),
                    "variables": {k: v for k, v in variables.items() if k in KEPT or not LEFT.match(k)},
                },
            )
            host["groups"].append(group)
    for group in GROUPS[:2]:
        if not _members(inventory, group):
            raise SupportError(f"The inventory has no host in the group {group}.")
    return list(found.values())


def _members(inventory: Mapping[str, Any], group: str) -> list[str]:
    """Hosts of a group and of the groups in it."""
    here = inventory.get(group, {})
    return [
        *here.get("hosts", []),
        *(name for child in here.get("children", []) for name in _members(inventory, child)),
    ]


def main(path: str) -> None:
    """Print them as JSON."""
    place = Path(path).expanduser()
    if not place.exists():
        raise SupportError(f"There is no inventory {place}.")
    asked = ["ansible-inventory", "--inventory", str(place), "--list"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SupportError(f"The inventory {place} can't be read: {answer.stderr.strip()}")
    print(json.dumps(stand_ins(json.loads(answer.stdout))))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except SupportError as error:
        sys.exit(f"your_hosts: {error}")
