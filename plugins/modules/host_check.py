#!/usr/bin/python
# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host can be worked on: the first contact with it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_check
short_description: Check login, Python, become and programs of a host
version_added: 0.1.0
description:
  - Contacts the host without running a module there, and returns everything that keeps modules of this collection from running.
    That is the login; Python, which must be as new as the controller's ansible-core needs; the users of C(couch2pg_become_user) and
    C(couch2pg_app_become_user), whether Ansible can become these users; and psycopg2 for them.
  - Missing client programs of PostgreSQL and a missing rsync are findings too, with their package.
  - Neither a finding nor an unreachable host fails the task. Call it again with O(hosts) to fail with all of them.
author: cht.couch2pg maintainers (@medic)
extends_documentation_fragment:
  - cht.couch2pg.attributes.info
options:
  hosts:
    description:
      - Contact no host. If one of these hosts has a failure, fail with the findings of all of them together.
        The findings must be registered as C(host_contact).
    type: list
    elements: str
notes:
  - It needs the groups that M(cht.couch2pg.run_check) returns (C(run_databases), C(run_apps)), as C(hosts.yml) makes them.
"""

EXAMPLES = r"""
- name: Contact every host
  cht.couch2pg.host_check:
  register: host_contact

- name: Stop when a host can't be worked on
  cht.couch2pg.host_check:
    hosts: "{{ groups['run_hosts'] }}"
  run_once: true
"""

RETURN = r"""
ready:
  description: Whether no finding is a failure.
  returned: success, without O(hosts)
  type: bool
  sample: true
findings:
  description: Every finding in the order of the checks.
  returned: success, without O(hosts)
  type: list
  elements: dict
  sample: [{name: Python, status: ok, message: "/usr/bin/python3, version 3.11", details: {}}]
"""

from ansible_collections.cht.couch2pg.plugins.module_utils.adapter.module import make_module


def main() -> None:
    """Entry point."""
    module = make_module({"hosts": {"type": "list", "elements": "str"}})
    module.fail_json(msg="host_check is the work of its action plugin on the controller; call it as a task.")


if __name__ == "__main__":
    main()
