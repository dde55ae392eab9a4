# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The injector of kills finds what it is for: a step between two changes that a later run can't get over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.crashes import check_every_moment


def nothing(_root: Path) -> None:
    """An empty folder."""


def marked(root: Path) -> None:
    """As a folder was begun once."""
    folder = root / "folder"
    if folder.exists() and not (folder / "mark").exists():
        raise ValueError("not ours")
    folder.mkdir(exist_ok=True)
    (folder / "mark").touch()


def beside(root: Path) -> None:
    """Leaves what it wrote when it is killed."""
    path = root / f"new-{os.getpid()}"
    path.write_text("1")
    path.rename(root / "file")


def in_place(root: Path) -> str:
    """A file that is open when its writer is killed is empty."""
    if not (root / "file").exists():
        (root / "file").write_text("1")
    return (root / "file").read_text()


def removed(root: Path) -> int:
    """The mark goes before the rest."""
    if (root / "mark").exists():
        (root / "mark").unlink()
        (root / "rest").unlink()
    return len(list(root.iterdir()))


def test_a_folder_without_its_mark(tmp_path: Path) -> None:
    with pytest.raises(
        AssertionError, match=r"kill at change 2, which left \['folder'\]: .*(.|\n)*ValueError: not ours"
    ):
        check_every_moment(tmp_path / "r", nothing, marked)


def test_a_file_that_nobody_removes(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"kill at change 2, which left \['new-"):
        check_every_moment(tmp_path / "r", nothing, beside)


def test_a_file_without_its_content(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"kill at change 2, .*: '' instead of '1'"):
        check_every_moment(tmp_path / "r", nothing, in_place)


def test_a_removal_that_loses_its_mark(tmp_path: Path) -> None:
    def make(root: Path) -> None:
        for name in ("mark", "rest"):
            (root / name).touch()

    with pytest.raises(AssertionError, match=r"kill at change 2, .*: 1 instead of 0"):
        check_every_moment(tmp_path / "r", make, removed)


def test_changes_are_counted(tmp_path: Path) -> None:
    def change(root: Path) -> None:
        (root / "folder").mkdir(exist_ok=True)
        if (root / "a").exists():
            (root / "a").replace(root / "b")
        if not (root / "link").is_symlink():
            (root / "link").symlink_to("b")

    assert check_every_moment(tmp_path / "r", lambda root: (root / "a").write_text("1"), change) == 3
