# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the host's variables with the names that this collection knows, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase
from ansible_collections.cht.couch2pg.plugins.plugin_utils.misspelt import find_misspelt, is_ours

COLLECTION = Path(__file__).parents[2]


class ActionModule(ActionBase):
    """Action plugin of M(cht.couch2pg.known_variables)."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fails when a variable is unknown."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        shared = set(_load(COLLECTION / "docs" / "variables.yml"))
        roles = {
            path.parents[1].name: set(_load(path)["argument_specs"]["main"]["options"])
            for path in sorted(COLLECTION.glob("roles/*/meta/argument_specs.yml"))
        }
        names = set(task_vars or {})
        misspelt = find_misspelt(names, shared, roles)
        if misspelt:
            result.update(failed=True, code="unknown_variable", msg=" ".join(misspelt))
        else:
            result.update(changed=False, checked=sum(is_ours(name, roles) for name in names))
        return result


def _load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document
