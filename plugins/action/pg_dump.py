# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module whose work is a job, and shows the progress of the job. ``meta/runtime.yml`` routes all such modules here."""

from __future__ import annotations

from ansible_collections.cht.couch2pg.plugins.plugin_utils.job_action import JobAction


class ActionModule(JobAction):
    """Action plugin of M(cht.couch2pg.pg_dump) and of every module that ``meta/runtime.yml`` routes here."""
