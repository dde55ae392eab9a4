# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that lead the connections of a dashboard to the target, and back."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.cutover)."""

    DOCUMENTATION = r"""
options:
  side:
    description:
      - Where the connections shall lead.
      - V(target) changes those that lead to the source. V(source) puts back what is O(remembered), each to what it was.
    type: str
    default: target
    choices: [target, source]
  remembered:
    description:
      - What was changed, as RV(packed) or RV(cht.couch2pg.record#module:way_back) has it.
      - For O(side=target), what an interrupted run had begun to change, and nobody has seen to work.
    type: list
    elements: str
    default: []
  source:
    description: The source's database, as dashboards know it.
    type: dict
    required: true
    suboptions:
      names:
        description: Every name and address that they use for its server, as C(host) or C(host:port).
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
    description: Password on the target of each role that a dashboard logs in with, by the role's name there.
    type: dict
    default: {}
  source_passwords:
    description: The same on the source, where it is another one. It is needed for the way back.
    type: dict
    default: {}
  role_map:
    description: Roles that bear another name on the target, as old and new name.
    type: dict
    default: {}
  untested:
    description: Roles on the target that don't have their login yet in check mode; no login is tried with them there.
    type: list
    elements: str
    default: []
  ca_cert:
    description: File on the host with the certificates that are trusted for HTTPS; empty means those of the system.
    type: path
    default: ""
notes:
  - Passwords are in no result. In check mode everything is looked up and tested, and nothing changed.
  - When one connection fails, those that were changed before are put back.
"""
