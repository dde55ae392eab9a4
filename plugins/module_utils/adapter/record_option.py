# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option ``record``: a module writes its own outcome into the record, so that a run needs no module call for that."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values

from ..record import document
from .argument_spec import Option

RECORD_OPTION: dict[str, Option] = {
    "record": {
        "type": "dict",
        "options": {
            "phase": {"type": "str", "required": True, "choices": list(document.PHASES)},
            "host": {"type": "str", "required": True},
            "kept_on": {"type": "str", "required": True},
            "database": {"type": "str", "default": ""},
            "details": {"type": "dict", "default": {}},
        },
    }
}


def check_record(module: AnsibleModule) -> None:
    """Check, before anything is done, that the record on this host is of the same database.

    Raises MigrationError ``other_database`` or ``damaged_file``.
    """
    wanted = module.params.get("record")
    if wanted and wanted["kept_on"] == wanted["host"]:
        path = document.record_path(module.params["state_dir"], module.params["migration_id"])
        document.check_database(document.load(path), wanted["database"])


def write_outcome(module: AnsibleModule, result: dict[str, Any]) -> dict[str, Any]:
    """The result, with ``recorded``, after it was written into the record on this host.

    Nothing is written without the option, in check mode, for a record on another host, or while the job still runs.
    Raises MigrationError and OSError.
    """
    wanted = module.params.get("record")
    running = result.get("job", {}).get("status") == "running"
    if not wanted or module.check_mode or wanted["kept_on"] != wanted["host"] or running:
        return result
    if result.get("code") in document.REFUSALS:
        return result
    shown = remove_values(dict(result, **wanted["details"]), module.no_log_values)
    entry = document.make_entry(wanted["host"], shown)
    migration_id = module.params["migration_id"]
    path = document.record_path(module.params["state_dir"], migration_id)
    after, before = document.add(path, migration_id, wanted["database"], wanted["phase"], entry, write=True)
    return dict(result, changed=result.get("changed", False) or after != before, recorded=True)
