# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that works on one migration."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.migration)."""

    DOCUMENTATION = r"""
options:
  migration_id:
    description:
      - Name of the migration. Work that is done is not repeated for the same name.
      - May contain letters, digits, dots, dashes and underscores.
    type: str
    required: true
  state_dir:
    description:
      - Folder on the managed host for the state of migrations; created with mode 0700.
      - C(~) is the home of the user who runs the module.
    type: path
    required: true
"""
