# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that runs PostgreSQL's own programs."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.programs)."""

    DOCUMENTATION = r"""
options:
  bin_dir:
    description:
      - Folder of C(pg_dump) and C(pg_restore) on the managed host.
      - Or C(docker://IMAGE), an image of PostgreSQL whose programs run in a helper container.
      - Empty means the image of O(login_container), or else PATH.
    type: str
    default: ""
"""
