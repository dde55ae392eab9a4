# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that point the connections of dashboards at the target, or back at the source."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.cutover)."""

    DOCUMENTATION = r"""
options:
  side:
    description:
      - The side that the connections shall lead to.
      - V(target) changes those that lead to the source. V(source) puts back the changes in O(remembered).
    type: str
    default: target
    choices: [target, source]
  remembered:
    description:
      - What was changed, as RV(packed) or C(packed) of RV(cht.couch2pg.record#module:way_back).
      - For O(side=target), the changes of an interrupted run, which were not yet seen to work.
    type: list
    elements: str
    default: []
  source:
    description: The source's database, as dashboards know it.
    type: dict
    required: true
    suboptions:
      names:
        description: Every name and address of its server that dashboards use, as C(host) or C(host:port).
        type: list
        elements: str
        required: true
      port:
        description: Port of its server, for names without one.
        type: int
        default: 5432
      database:
        description: Name of the database.
        type: str
        required: true
  target:
    description: The target's database, as dashboards will know it.
    type: dict
    required: true
    suboptions:
      host:
        description: Name or address of its server.
        type: str
        required: true
      port:
        description: Port of its server.
        type: int
        default: 5432
      database:
        description: Name of the database.
        type: str
        required: true
  passwords:
    description: Password on the target of each role that a dashboard logs in with, by the role's name on the target.
    type: dict
    default: {}
  source_passwords:
    description: Passwords on the source that differ from those on the target. The way back needs them.
    type: dict
    default: {}
  role_map:
    description: Roles that have another name on the target, as old and new name.
    type: dict
    default: {}
  untested:
    description: Roles on the target that have no login yet in check mode. The module tests no login with them.
    type: list
    elements: str
    default: []
  ca_cert:
    description: File on the host with the trusted certificates for HTTPS; empty means those of the system.
    type: path
    default: ""
notes:
  - No result contains a password. In check mode everything is read and tested, and nothing is changed.
  - When a connection fails, the module puts back those that it changed before.
"""
