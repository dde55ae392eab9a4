# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name and shows the progress of its job."""

from __future__ import annotations

from typing import Any

from ansible_collections.cht.couch2pg.plugins.plugin_utils.job_action import JobAction


class ActionModule(JobAction):
    """Action plugin of M(cht.couch2pg.document_digest)."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result; its job only reads."""
        return dict(super().run(tmp, task_vars), changed=False)
