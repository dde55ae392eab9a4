# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module whose work is a job."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(cht.couch2pg.job)."""

    DOCUMENTATION = r"""
options:
  job_wait:
    description:
      - Seconds to wait for the job. When it still runs then, the module returns C(job.status) V(running), and the same call again joins it.
      - Without it the module waits until the job has ended. The action plugin of the same name sets it, to show progress.
    type: float
notes:
  - The work is a process of its own on the managed host and goes on when the connection is lost. The same task again joins it.
  - With C(async) the module waits on the managed host; progress is not shown then.
"""
