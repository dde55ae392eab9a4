# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of modules that write their outcome into the record of the migration."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.record)."""

    DOCUMENTATION = r"""
options:
  record:
    description:
      - Write the outcome into the record of the migration on this host, as M(cht.couch2pg.record) does. The result then has C(recorded).
      - Nothing is recorded without it, in check mode, and for a job that still runs when the module returns.
    type: dict
    suboptions:
      phase:
        description: The phase that the outcome belongs to.
        type: str
        required: true
        choices: [preflight, dump, transfer, restore, refresh, verify, promote, handover, dashboards, cutover, rollback, cleanup, rehearse]
      host:
        description: Inventory name of this host.
        type: str
        required: true
      kept_on:
        description: Inventory name of the host that keeps the record. Nothing is recorded if that is another host.
        type: str
        required: true
      database:
        description: Name of the database, for a record that is new.
        type: str
        default: ""
      details:
        description: Values to record in addition to the result.
        type: dict
        default: {}
"""
