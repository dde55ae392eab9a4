# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's bundle, its installation, and the steps of a cutover, killed at any moment."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import bundle, install, kinds
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.settings import Settings
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover import way_back
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.steps import FileStep
from support.crashes import check_every_moment


def an_application(root: Path) -> None:
    (root / "app" / "lib").mkdir(parents=True)
    (root / "app" / "index.js").write_text("1")
    (root / "app" / "lib" / "a.js").write_text("2")
    (root / "app" / "link.js").symlink_to("index.js")
    for path in root.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)


def packed(root: Path) -> str:
    description = bundle.Description(kinds.ENV_FILE, str(root / "app"), env_files=(str(root / "app.env"),))
    return bundle.save(root / "bundle.tar.gz", description, lambda _path: False).sha256


def test_a_bundle(root: Path) -> None:
    check_every_moment(root, an_application, packed)


def test_an_installation(root: Path) -> None:
    def make(root: Path) -> None:
        an_application(root)
        packed(root)

    def installed(root: Path) -> list[str]:
        options = {"kind": kinds.ENV_FILE, "app_dir": str(root / "opt" / "couch2pg"), "env_file": str(root / "app.env")}
        planned = install.plan(root / "bundle.tar.gz", options)
        install.apply(planned, "m")
        return install.plan(root / "bundle.tar.gz", options).made()

    check_every_moment(root, make, installed)


def test_the_program_of_an_installation(root: Path) -> None:
    def put(root: Path) -> None:
        if not (root / "bin" / "node").exists():
            install.put_file(io.BytesIO(b"program"), root / "bin" / "node", 0o755)

    check_every_moment(root, lambda _root: None, put)


def test_the_working_folder_of_an_installation(root: Path) -> None:
    """It belongs to couch2pg's user as soon as it is there."""

    def make(root: Path) -> None:
        if not (root / "var" / "couch2pg").exists():
            install.make_folder(root / "var" / "couch2pg", "nobody")

    check_every_moment(root, lambda _root: None, make, lambda found: found | owners(root))


def owners(root: Path) -> dict[str, str]:
    return {f"owner of {path}": path.owner() for path in root.rglob("*")}


def test_captured_settings(root: Path) -> None:
    check_every_moment(root, lambda _root: None, lambda root: Settings({"A": "1"}).save(root / "settings.json"))


def test_the_way_back(root: Path) -> None:
    change: Any = {"tool": "t", "url": "u", "id": "1", "name": "n", "old": "a", "new": "b"}
    check_every_moment(
        root,
        lambda root: (root / "m").mkdir(),
        lambda root: way_back.add(root / "m" / "c.json", [change], "target", True),
    )


@pytest.mark.parametrize("then", [["true"], None])
@pytest.mark.parametrize("side", ["target", "source"])
def test_a_file_of_a_cutover(root: Path, side: str, then: list[str] | None) -> None:
    def step(root: Path) -> FileStep:
        options = {"path": str(root / "settings"), "content": "target", "then": then}
        return FileStep(options, "name", "m", "", ())

    def make(root: Path) -> None:
        (root / "settings").write_text("source")
        if side == "source":
            step(root).move("target")

    def move(root: Path) -> bool:
        if step(root).needs(side):
            step(root).move(side)
        return step(root).needs(side)

    if side == "source":
        # Without a copy of the old file, it can't be asked again.
        check_every_moment(root, make, lambda root: step(root).needs(side) and step(root).move(side) and None)
    else:
        check_every_moment(root, make, move)
