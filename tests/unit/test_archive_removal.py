# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive goes by its manifest: what that doesn't name stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils import archive_removal, manifest
from ansible_collections.cht.couch2pg.plugins.module_utils.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.files import write_json


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    (root / "archive").mkdir(parents=True)
    (root / "archive" / "toc.dat").write_bytes(b"toc")
    (root / "evidence.json").write_text("{}")
    write_json(root / manifest.MANIFEST, dict(manifest.create(root, 1), migration_id="m"))
    return root


def remove(root: Path) -> list[str]:
    planned = archive_removal.plan(root, "m")
    archive_removal.remove(root, planned)
    left: list[str] = planned["left"]
    return left


def test_all_of_it_goes(archive: Path) -> None:
    assert remove(archive) == []
    assert list(archive.parent.iterdir()) == []
    assert remove(archive) == []


def test_what_is_unknown_is_left_with_its_manifest(archive: Path) -> None:
    (archive / "archive" / "mine").write_text("precious")
    (archive / "notes").mkdir()
    assert remove(archive) == ["archive/mine"]
    assert {path.name for path in archive.rglob("*")} == {"archive", "mine", "notes", manifest.MANIFEST}
    assert remove(archive) == ["archive/mine"]
    (archive / "archive" / "mine").unlink()
    (archive / "archive").rmdir()
    (archive / "notes").rmdir()
    remove(archive)
    assert not archive.exists()


def test_an_interrupted_removal_is_gone_on_with(archive: Path) -> None:
    (archive / "archive" / "toc.dat").unlink()
    (archive / "archive").rmdir()
    remove(archive)
    assert not archive.exists()


@pytest.mark.parametrize("migration_id", ["other", None])
def test_another_archive_is_refused(archive: Path, migration_id: str | None) -> None:
    write_json(archive / manifest.MANIFEST, dict(manifest.load(archive), migration_id=migration_id))
    with pytest.raises(MigrationError, match="Nothing was removed"):
        archive_removal.plan(archive, "m")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(MigrationError, match="There is no archive"):
        archive_removal.plan(tmp_path / "m", "m")


@pytest.mark.parametrize("marked", [True, False])
def test_a_half_done_one_goes_when_it_is_marked(tmp_path: Path, marked: bool) -> None:
    partial = tmp_path / "m.partial"
    partial.mkdir()
    (partial / "toc.dat").write_text("half")
    if marked:
        (partial / manifest.HALF_DONE).touch()
    remove(tmp_path / "m")
    assert partial.exists() is not marked
