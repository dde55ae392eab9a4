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

# In base64: a custom archive begins with PGDMP.
ARCHIVE_BEGINS = "UEdETV"


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
            # ValueError: not the file that the check of the source has written.
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is not such a file"
                return {
                    "failed": True,
                    "code": "schema_unread",
                    "msg": f"The file with the source's schema can't be read: {reason}. "
                    "Ansible removes the file when ansible-playbook ends. In the same run, check the source with read_schema: true first.",
                }
        shown = self._play_context.no_log
        # With -vvv, ssh would print what the module returns.
        self._play_context.no_log = True
        try:
            result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        finally:
            self._play_context.no_log = shown
        # An answer that Ansible can't read. Any other says why the module could not run.
        if ARCHIVE_BEGINS in str(result.get("module_stdout", "")):
            del result["module_stdout"]
        if result.get("schema"):
            try:
                result["schema"] = _kept(result["schema"])
            except OSError as error:
                # Without the findings, because the role shows the message of a result that has none.
                return {
                    "failed": True,
                    "code": "schema_unwritten",
                    "msg": f"The source's schema can't be written to {_folder()} on the controller: {error.strerror}. "
                    "Free disk space there, or set ANSIBLE_LOCAL_TEMP to another folder, then run again.",
                }
        return result


def _kept(schema: str) -> str:
    """The path of a new, private file with ``schema``. Ansible removes its temporary folder when it ends."""
    descriptor, path = tempfile.mkstemp(prefix="schema_", dir=_folder())
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(schema)
    return path


def _folder() -> str:
    return str(vars(constants)["DEFAULT_LOCAL_TMP"])
