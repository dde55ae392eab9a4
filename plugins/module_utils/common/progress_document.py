# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of a job's ``progress.json``."""

from __future__ import annotations

from typing import TypedDict


class TrackDocument(TypedDict):
    """One activity of a step.

    total, done: amounts in ``unit``; total is None when it is unknown; ``estimated`` is true when it isn't exact.
    rate: ``unit`` per second; left: seconds. Both are None until they are meaningful.
    """

    name: str
    total: int | None
    unit: str
    estimated: bool
    done: int
    item: str
    rate: float | None
    left: float | None


class ProgressDocument(TypedDict, total=False):
    """The current step and its tracks; empty before the job's first write.

    number, steps: the step's number, and the number of all steps once they are planned.
    started, heartbeat: seconds since the epoch; step_seconds: seconds since the step began.
    """

    step: str
    number: int
    steps: int
    started: float
    tracks: list[TrackDocument]
    notes: list[str]
    heartbeat: float
    step_seconds: float
