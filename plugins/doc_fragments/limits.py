# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that read a server which others work on."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.limits)."""

    DOCUMENTATION = r"""
options:
  nice:
    description:
      - Niceness of the job and, where they run on this host and the job's user may, of the server's processes that work for it.
      - From V(0) (none) to V(19). M(cht.couch2pg.job_limits) changes it while the job runs; only root can make a process less nice again.
    type: int
    default: 0
  io_class:
    description: Class of their disk access, as C(ionice) has it; V(none) leaves it alone. Schedulers that know no classes ignore it.
    type: str
    default: none
    choices: [none, best-effort, idle]
  rate_limit:
    description:
      - Most bytes of tables (as they lie on the disk) to read in a second, by everything that the job does together; V(0) means no limit.
      - Before PostgreSQL 14 a server doesn't tell what was read; there the bytes that are written into the archive are held to it.
    type: int
    default: 0
"""
