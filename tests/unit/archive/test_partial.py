# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of an incomplete archive: resumed, replaced or refused, wherever an attempt was killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout, manifest, partial
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import UNFINISHED

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


def test_an_attempt_that_was_killed_while_it_began(tmp_path: Path) -> None:
    folder = tmp_path / "m.partial"
    folder.mkdir()
    assert partial.start_empty(folder, "second") == ""
    (folder / layout.HALF_DONE).rename(folder / f".{layout.HALF_DONE}.1-abc{UNFINISHED}")
    assert partial.start_empty(folder, "third") == ""
    assert [path.name for path in folder.iterdir()] == [layout.HALF_DONE]


@pytest.mark.parametrize("remove", [partial.discard, partial.start_empty])
def test_an_attempt_that_was_killed_while_it_removed_an_earlier_one(tmp_path: Path, remove: Any) -> None:
    """Wherever the removal stops, the next attempt still knows the folder."""
    folder = tmp_path / "m.partial"
    for done in range(20):
        partial.start_empty(folder)
        for name in ("rows/1", "rows/2", "a", "z"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        partial.finish(folder, DOCUMENT, 1)
        if not interrupted(remove, folder, done):
            break
        assert partial.is_ours(folder)
    assert 5 < done < 19


def interrupted(remove: Any, folder: Path, done: int) -> bool:
    """Whether ``remove`` had more to do after ``done`` calls that remove something."""
    left = done

    def count(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            return real(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("unlink", "rmdir"):
            patch.setattr(os, name, count(getattr(os, name)))
        try:
            remove(folder)
        except KeyboardInterrupt:
            return True
    return False


def test_a_finished_folder_that_is_made_again(tmp_path: Path) -> None:
    final = tmp_path / "m"
    partial.start_empty(layout.partial_folder(final))
    partial.start_empty(final)
    partial.finish(final, DOCUMENT, 1)
    partial.take_back(final)
    assert not final.exists()
    assert partial.start_empty(layout.partial_folder(final)) == ""
