# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of an incomplete archive: resumed, replaced or refused, wherever an attempt was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout, manifest, partial
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError

DOCUMENT: Any = {
    "migration_id": "m",
    "server": {"identity": "1"},
    "database": {"name": "cht"},
    "snapshot": "1-1",
    "taken_at": "now",
    "dump": {},
}


def test_a_killed_attempt_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "m.partial"
    assert partial.start_empty(folder, "first") == ""
    (folder / "old").touch()
    assert partial.start_empty(folder, "second") == "first"
    assert [path.name for path in folder.iterdir()] == [layout.HALF_DONE]


def test_an_attempt_that_was_killed_before_its_rename(tmp_path: Path) -> None:
    folder = tmp_path / "m.partial"
    partial.start_empty(folder)
    (folder / "rows").write_text("1")
    partial.finish(folder, DOCUMENT, 1)
    assert not (folder / layout.HALF_DONE).exists()
    partial.finish(folder, DOCUMENT, 1)
    assert [entry["path"] for entry in manifest.load(folder)["files"]] == ["rows"]
    assert partial.start_empty(folder) == ""


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(MigrationError, match="was not made by this collection"):
        partial.start_empty(tmp_path)
    assert (tmp_path / "mine").exists()
