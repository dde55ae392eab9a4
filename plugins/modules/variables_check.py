#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the variables of this collection are spelt right, and can work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: variables_check
short_description: Refuse misspelt variables of this collection, and values that can't work
version_added: 0.1.0
description:
  - Compares every variable of the host with a prefix of this collection (C(couch2pg_), C(dump_) ...) with the known names.
  - An unknown C(couch2pg_*) variable fails the task, which names the nearest known one.
    A variable with the prefix of a role fails it only when it is close to a known name, for others use these words too.
  - A C(couch2pg_*) variable whose value can't work fails it, too, with what the value should be.
  - Ansible checks the options that a role is called with, but not what stands in an inventory.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
options:
  report_dir:
    description: Folder on the controller for the report of the run. Fails if it can't be written, before the run changes anything.
    type: path
notes:
  - It runs on the controller; the host need not be reachable.
"""

EXAMPLES = r"""
- name: Check for misspelt variables
  cht.couch2pg.variables_check:
    report_dir: /home/me/records
"""

RETURN = r"""
checked:
  description: Number of variables with a prefix of this collection.
  returned: success
  type: int
  sample: 7
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module


def main() -> None:
    """Entry point."""
    module = make_module({"report_dir": {"type": "path"}})
    module.fail_json(msg="variables_check is the work of its action plugin on the controller; call it as a task.")


if __name__ == "__main__":
    main()
