# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a record, on the controller; connects to no host."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.restart import of_migration
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import (
    FILE_MODE,
    expand,
    make_private_folder,
    write_text,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.record.document import Record, seal
from ansible_collections.cht.couch2pg.plugins.plugin_utils.record_summary import places, summary
from ansible_collections.cht.couch2pg.plugins.plugin_utils.report_document import document
from ansible_collections.cht.couch2pg.plugins.plugin_utils.report_render import render
from ansible_collections.cht.couch2pg.plugins.plugin_utils.report_todo import Places

DEFAULTS: dict[str, Any] = {"places": {}, "state_dir": "~/couch2pg-migration", "record_place": ""}
NAMES = {"html": "html", "md": "markdown", "json": "record_copy"}
TEMPLATES = Path(__file__).parents[2] / "roles" / "report" / "templates"


class ActionModule(ActionBase):
    """Action plugin of M(cht.couch2pg.report)."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the files whose content has changed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if "removed" in self._task.args:
            return dict(result, **self._remove())
        options = {**DEFAULTS, **self._task.args}
        wrong = {"record", "folder", *DEFAULTS} ^ set(options)
        if wrong:
            return dict(result, failed=True, msg=f"Missing or unknown options of report: {', '.join(sorted(wrong))}.")
        record, folder = options["record"], expand(options["folder"])
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", str(record.get("migration_id"))):
            return dict(
                result,
                failed=True,
                msg="This is not the record of a migration: its migration_id is not a valid file name.",
            )
        shown = document(record, Places(options["places"]), options["state_dir"], options["record_place"])
        changed, diffs = False, []
        try:
            copy = {"json": _copy(record, folder / f"{record['migration_id']}.json")}
            rendered = {
                ending: of_migration(text, record["migration_id"]) for ending, text in render(TEMPLATES, shown).items()
            }
            for ending, text in {**rendered, **copy}.items():
                path = folder / f"{record['migration_id']}.{ending}"
                before = path.read_text(encoding="utf-8") if path.exists() else ""
                private = path.exists() and path.stat().st_mode & 0o777 == FILE_MODE
                result[NAMES[ending]] = str(path)
                if before == text and private:
                    continue
                changed = True
                diffs.append({"before": before, "after": text, "before_header": str(path), "after_header": str(path)})
                if not self._task.check_mode:
                    make_private_folder(folder)
                    write_text(path, text)
        except MigrationError as error:
            return dict(result, failed=True, msg=error.message, code=error.code)
        return dict(
            result,
            changed=changed,
            diff=diffs if self._task.diff else [],
            verdict=shown["verdict"]["word"],
            summary=[
                *(of_migration(line, record["migration_id"]) for line in summary(record)),
                *places(result, options["record_place"]),
            ],
        )

    def _remove(self) -> dict[str, object]:
        """Remove the files of the migrations in ``removed``, which must be valid names."""
        folder = expand(self._task.args["folder"])
        wanted = [folder / f"{name}.{ending}" for name in self._task.args["removed"] for ending in NAMES]
        there = [path for path in wanted if path.parent == folder and path.is_file()]
        if not self._task.check_mode:
            for path in there:
                path.unlink()
        diff = {"before": "".join(f"{path}\n" for path in there), "after": ""}
        return {"changed": bool(there), "diff": diff if self._task.diff else []}


def _copy(record: Record, path: Path) -> str:
    """The record as text for ``path``. If the record was edited, an earlier, unedited copy stays: the record can be restored from it."""
    if record.get("seal") != seal(record):
        with suppress(OSError, ValueError, AttributeError):
            text = path.read_text(encoding="utf-8")
            earlier = json.loads(text)
            if earlier.get("seal") == seal(earlier):
                return text
    return json.dumps(record, indent=4, sort_keys=True) + "\n"
