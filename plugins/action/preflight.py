# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name. The source's schema, which may hold passwords, goes through a file of the controller.

The variables of a host and the output of ansible-playbook then contain the path of that file, and not the schema.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Action plugin of M(cht.couch2pg.preflight)."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module with the content of the file ``schema``; return its result with the path of a file as ``schema``."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("schema"):
            try:
                arguments["schema"] = Path(arguments["schema"]).read_text(encoding="ascii")
            except OSError as error:
                return {
                    "failed": True,
                    "code": "schema_unread",
                    "msg": f"The file with the source's schema can't be read: {error}. "
                    "Ansible removes the file when ansible-playbook ends. In the same run, check the source with read_schema: true first.",
                }
        shown = self._play_context.no_log
        # With -vvv, ssh would print what the module returns.
        self._play_context.no_log = True
        try:
            result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        finally:
            self._play_context.no_log = shown
        if result.get("schema"):
            result["schema"] = _kept(result["schema"])
        return result


def _kept(schema: str) -> str:
    """The path of a new, private file with ``schema``. Ansible removes its temporary folder when it ends."""
    descriptor, path = tempfile.mkstemp(prefix="schema_", dir=vars(constants)["DEFAULT_LOCAL_TMP"])
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(schema)
    return path
