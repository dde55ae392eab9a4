# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that put another data directory in the place of the target server's own."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragments C(cht.couch2pg.server), and C(cht.couch2pg.server.act_as) for modules that root runs."""

    DOCUMENTATION = r"""
options:
  method:
    description: The method of the migration. V(physical) replaces the target's whole server, which is stopped and started for that.
    type: str
    default: archive
    choices: [archive, stream, physical]
  commands:
    description:
      - Commands that stop and start the server, where it is not a systemd service (O(method=physical)). They are run as root, or as the
        user who runs the module. Each must return when the server has stopped or started.
    type: dict
    suboptions:
      stop:
        description: Words of the command that stops it.
        type: list
        elements: str
      start:
        description: Words of the command that starts it.
        type: list
        elements: str
"""

    ACT_AS = r"""
options:
  act_as:
    description:
      - For a module that runs as root, the user as whom it connects and writes files, which is the owner of the data directory. Only the
        service is stopped and started as root. Without effect when another user runs the module.
    type: str
    default: ""
"""
