# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a job in the result of a module."""

from __future__ import annotations

from typing import Mapping, TypedDict

from .errors import ErrorDocument
from .progress_document import ProgressDocument


class JobReport(TypedDict):
    """The state of a job. started: by this call; line: its progress as text, empty unless it runs."""

    kind: str
    status: str
    folder: str
    started: bool
    progress: ProgressDocument
    line: str


class WatchedJob(JobReport):
    """The state of a job, and its result or error once it has ended."""

    result: Mapping[str, object] | None
    error: ErrorDocument | None
