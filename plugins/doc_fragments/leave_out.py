# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option for extensions and tables that are not carried over."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.leave_out)."""

    DOCUMENTATION = r"""
options:
  leave_out:
    description:
      - Extensions and tables of the source that the target does not get, for example an extension that the target's server can't have.
      - The evidence, the record and the report name them. Tables that couch2pg fills can't be left out.
    type: dict
    suboptions:
      extensions:
        description: Names of extensions. It needs C(pg_dump) 17 or newer.
        type: list
        elements: str
        default: []
      tables:
        description: Names of tables, as C(schema.table).
        type: list
        elements: str
        default: []
"""
