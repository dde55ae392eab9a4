# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection installs from git, and from a requirements.yml; a server is never asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def install(home: Path, *what: str) -> Path:
    """Run ansible-galaxy with a home of its own; returns the folder of the collection."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:9/",
        "ANSIBLE_COLLECTIONS_PATH": str(home / "collections"),
        "LC_ALL": "C.UTF-8",
        # The checkout may belong to another user than the one who runs the tests.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    command = ["ansible-galaxy", "collection", "install", "-p", str(home / "collections"), *what]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return home / "collections" / "ansible_collections" / "cht" / "couch2pg"


def test_from_git(tmp_path: Path) -> None:
    """What is committed; build_ignore holds there, too."""
    folder = install(tmp_path, f"git+file://{ROOT},HEAD")
    assert (folder / "playbooks" / "migrate.yml").is_file()
    assert not (folder / "tests").exists()


@pytest.mark.parametrize("kind", ["file", "git"])
def test_from_requirements(tmp_path: Path, kind: str) -> None:
    """The artifact, or the repository as docs/install.md writes it."""
    if kind == "file":
        built = subprocess.run([ROOT / "tests/tools/artifact"], check=True, stdout=subprocess.PIPE, encoding="utf-8")
        source = {"name": built.stdout.strip(), "type": "file"}
    else:
        source = {"name": f"file://{ROOT}", "type": "git", "version": "HEAD"}
    requirements = tmp_path / "requirements.yml"
    requirements.write_text(yaml.safe_dump({"collections": [source]}), encoding="utf-8")
    assert (install(tmp_path, "-r", str(requirements)) / "plugins" / "modules" / "pg_dump.py").is_file()
