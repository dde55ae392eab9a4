# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timestamps for documents."""

from __future__ import annotations

import time
from typing import Callable


def utc_now(clock: Callable[[], float] = time.time) -> str:
    """The current time in UTC, ISO 8601, in whole seconds: ``2026-01-31T08:15:00Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock()))
