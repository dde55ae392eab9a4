# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module with a job has."""

from __future__ import annotations

from typing import TypedDict


class JobOptions(TypedDict):
    """Where the job's folder is: the migration's name, and the folder of all migrations on this host."""

    migration_id: str
    state_dir: str
