# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection works when it is installed from its built artifact, without the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def names(folder: str, pattern: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / folder).glob(pattern))


MODULES = names("plugins/modules", "[!_]*.py")
ROLES = names("roles", "[!_]*")
PLAYBOOKS = names("playbooks", "*.yml")


@pytest.fixture(scope="session")
def artifact() -> Path:
    build = subprocess.run([ROOT / "tests/tools/artifact"], check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return Path(build.stdout.strip())


@pytest.fixture(scope="session")
def installed(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a controller without the Internet: it has ansible-core, the artifact, and no other collection."""
    home = tmp_path_factory.mktemp("home")
    target = home / "collections"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ANSIBLE_COLLECTIONS_PATH": str(target),
        # Whatever asked a server would fail.
        "ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:9/",
        "LC_ALL": "C.UTF-8",
    }
    shutil.copy(artifact, home)
    # As README prints it.
    (command,) = re.findall(r"`(ansible-galaxy collection install --offline .*?)`", (ROOT / "README.md").read_text())
    run(environment, "sh", "-c", command)
    assert (target / "ansible_collections/cht/couch2pg/MANIFEST.json").is_file()
    return environment


def run(environment: dict[str, str], *command: str) -> str:
    result = subprocess.run(
        command, env=environment, cwd=environment["HOME"], capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def documents(environment: dict[str, str], kind: str) -> dict[str, Any]:
    return json.loads(run(environment, "ansible-doc", "--type", kind, "--json", *listed(kind)))


def listed(kind: str) -> list[str]:
    return [f"cht.couch2pg.{name}" for name in {"module": MODULES, "role": ROLES}[kind]]


def test_only_what_users_need_is_packed(artifact: Path) -> None:
    with tarfile.open(artifact) as package:
        top = {name.split("/")[0] for name in package.getnames()}
    assert {"MANIFEST.json", "FILES.json", "README.md", "LICENSE", "meta", "plugins", "roles", "playbooks"} <= top
    assert top.isdisjoint({".cache", ".ci", ".git", "Makefile", "molecule", "tests"})


def test_every_module_is_documented(installed: dict[str, str]) -> None:
    found = documents(installed, "module")
    assert sorted(found) == listed("module")
    for name, document in found.items():
        assert {"check_mode", "diff_mode", "idempotent"} <= set(document["doc"].get("attributes", {})), name
        assert document["examples"], name
        assert document["return"], name


def test_every_role_is_documented(installed: dict[str, str]) -> None:
    assert sorted(documents(installed, "role")) == listed("role")


def test_there_are_playbooks() -> None:
    assert "migrate" in PLAYBOOKS


def test_a_module_runs(installed: dict[str, str]) -> None:
    needs = json.dumps({"needs": [{"path": installed["HOME"], "bytes": "1 MB"}]})
    told = run(installed, "ansible", "localhost", "-m", "cht.couch2pg.disk_space_info", "-a", needs)
    assert '"ok": true' in told


def test_playbooks_are_found_by_name(installed: dict[str, str]) -> None:
    found = [f"cht.couch2pg.{playbook}" for playbook in PLAYBOOKS]
    told = run(installed, "ansible-playbook", "-i", "localhost,", "--syntax-check", *found)
    assert told.count("playbook: ") == len(found)
