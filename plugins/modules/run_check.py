#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the variables of this collection, or the whole run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_check
short_description: Refuse variables and runs that can't work
version_added: 0.1.0
description:
  - Compares every variable of the host with a prefix of this collection (C(couch2pg_), C(dump_) ...) with the known names.
  - An unknown C(couch2pg_*) variable fails the task, which names the nearest known one.
    A variable with the prefix of a role fails the task only when its name is similar to a known one, because other roles may use the
    same prefix.
  - A C(couch2pg_*) variable whose value uses something that is not defined fails the task, because a role would silently use its default
    instead. A value that can't work fails the task, too, and the message says what the value should be.
  - Ansible checks the options that a role is called with, but not the variables of an inventory.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
options:
  every_host:
    description:
      - Check the whole run, as the playbooks do first. That is the variables of every host in the groups of this collection,
        those of the connections (C(ansible_*)) included; the groups; extra variables; and C(--limit) and C(--tags).
      - Without it, only variables of this host are checked.
    type: bool
    default: false
  may_be_limited:
    description: Whether C(--limit) is allowed, and hosts of one side are enough.
    type: bool
    default: false
  rehearsal:
    description: Whether the run is a rehearsal, which has its copy on the group C(couch2pg_rehearsal) if there is one.
    type: bool
    default: false
  tags:
    description: The tags that the tasks of the run have. Others are refused.
    type: list
    elements: str
    default: []
notes:
  - It runs on the controller; the host need not be reachable.
"""

EXAMPLES = r"""
- name: Check the variables of this host
  cht.couch2pg.run_check:

- name: Check the variables of every host, the groups and the command line
  cht.couch2pg.run_check:
    every_host: true
  run_once: true
"""

RETURN = r"""
checked:
  description: Number of variables with a prefix of this collection.
  returned: success
  type: int
  sample: 7
hosts:
  description: Every host of the run, with its groups in the run.
  returned: success, with O(every_host)
  type: list
  elements: dict
  sample: [{host: old.example.org, groups: [run_source, run_databases, run_hosts]}]
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.argument_spec import Option
from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module

OPTIONS: dict[str, Option] = {
    "every_host": {"type": "bool", "default": False},
    "may_be_limited": {"type": "bool", "default": False},
    "rehearsal": {"type": "bool", "default": False},
    "tags": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Entry point."""
    module = make_module(OPTIONS)
    module.fail_json(msg="run_check is the work of its action plugin on the controller; call it as a task.")


if __name__ == "__main__":
    main()
