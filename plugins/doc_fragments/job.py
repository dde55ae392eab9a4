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
      - Seconds to wait for the job. If it is still running then, the module returns C(job.status) V(running); the same call joins it again.
      - Without it the module waits until the job has ended. The action plugin of the same name sets it, to show progress.
    type: float
notes:
  - The work is a separate process on the managed host and continues when the connection is lost. Running the same task again joins it.
  - With C(async) the module waits on the managed host, without showing progress.
"""
