# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the host's variables against the names and values that this collection supports, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import check_writable, expand
from ansible_collections.cht.couch2pg.plugins.plugin_utils.misspelt import find_misspelt, is_ours, role_options
from ansible_collections.cht.couch2pg.plugins.plugin_utils.unfit import find_unfit, is_checked

COLLECTION = Path(__file__).parents[2]


def _check_report_dir(folder: str | None) -> None:
    """Raise MigrationError ``not_writable`` unless this user can write the report there."""
    if not folder:
        return
    try:
        check_writable(expand(folder))
    except MigrationError as error:
        raise MigrationError(
            f"The report can't be written on the controller: {error.message} Set couch2pg_records_dir. Nothing was changed.",
            error.code,
        ) from error


class ActionModule(ActionBase):
    """Action plugin of M(cht.couch2pg.variables_check)."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail if a variable is unknown or has an invalid value."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = task_vars or {}
        shared = _load(COLLECTION / "docs" / "variables.yml")
        roles = {
            path.parents[1].name: role_options(_load(path))
            for path in sorted(COLLECTION.glob("roles/*/meta/argument_specs.yml"))
        }
        misspelt = find_misspelt(given, set(shared), roles)
        unfit = find_unfit(self._values(given, shared), shared)
        if misspelt or unfit:
            code = "unknown_variable" if misspelt else "unfit_value"
            result.update(failed=True, code=code, msg=" ".join(misspelt + unfit))
            return result
        try:
            _check_report_dir(self._task.args.get("report_dir"))
        except MigrationError as error:
            result.update(failed=True, code=error.code, msg=error.message)
        else:
            result.update(changed=False, checked=sum(is_ours(name, roles) for name in given))
        return result

    def _values(self, given: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
        values = {}
        for name in given.keys() & shared.keys():
            if is_checked(shared[name]):
                try:
                    values[name] = self._templar.template(given[name])
                except AnsibleError:
                    # A task that uses the variable will report the error.
                    continue
        return values


def _load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document
