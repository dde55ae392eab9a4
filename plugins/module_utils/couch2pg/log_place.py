# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where couch2pg's log is, as the option ``log`` of this collection's modules takes it."""

from __future__ import annotations

from typing import TypedDict


class LogPlace(TypedDict, total=False):
    """A log: its ``kind``, and the options of that kind. Options of other kinds are missing or None."""

    kind: str
    unit: str
    journal_dir: str | None
    container: str
    project_dir: str
    service: str
    compose_files: list[str] | None
    env_files: list[str] | None
    path: str
