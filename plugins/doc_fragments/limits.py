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
      - Niceness of the job and, if the server runs on this host and the job's user is allowed to, of the server's processes for the job.
      - From V(0) to V(19) (lowest priority). M(cht.couch2pg.job) changes it while the job runs; only root can lower it again.
    type: int
    default: 0
  io_class:
    description: Disk scheduling class of these processes, as in C(ionice); V(none) doesn't change it. Some I/O schedulers ignore it.
    type: str
    default: none
    choices: [none, best-effort, idle]
  rate_limit:
    description:
      - Maximum bytes of tables (their size on disk) that the whole job reads per second, such as V(40 MB); V(0) means no limit.
      - A server before PostgreSQL 14 doesn't report what was read; there the limit applies to the bytes that are written to the archive.
    type: bytes
    default: "0"
"""
