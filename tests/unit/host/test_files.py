# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that archives may lie in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host import files, kept_file


def test_the_systems_own_folders_are_no_place_for_archives(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "not" / "yet")
    with pytest.raises(MigrationError, match="is a virtual file system such as /proc"):
        files.check_writable(Path("/proc/nope"))


def test_another_user_is_advised_where_that_helps_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MigrationError, match=r"Is a directory\. Correct that, or the path, then run again"):
        kept_file.read(tmp_path)
    with pytest.raises(MigrationError, match=r"Not a directory\. Correct that, or the path, then run again"):
        kept_file.Change(tmp_path / "file" / "new", None, "text").apply("m")


def test_two_threads_that_write_the_same_file(tmp_path: Path) -> None:
    """Neither takes the other's temporary file for one of a process that was killed; that one is removed."""
    path = tmp_path / "steps.json"
    with subprocess.Popen(["true"]) as ended:
        pass
    (tmp_path / f".steps.json.{ended.pid}-left.part").touch()
    with files.replacing(path) as stream:
        files.write_text(path, "two")
        stream.write(b"one")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_others_are_not_unfinished(tmp_path: Path) -> None:
    """Such as those of an editor, and those that belong to another file whose name begins in the same way."""
    kept = [tmp_path / name for name in (".env.part", ".env.before-m.12-abcd.part", ".env.abcd.part")]
    for path in kept:
        path.touch()
    files.write_text(tmp_path / "env", "")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "env"])
