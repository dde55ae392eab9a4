# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook prepare on hosts that have a Python and nothing else, with the packages of their distributions."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any, Iterator

import pytest
from support.docker_engine import Engine, engine
from support.images import base, proxy
from support.many_playbooks import PROGRAM
from support.migration import ROOT, Run, environment

# It fetches packages, which takes minutes.
pytestmark = pytest.mark.long

# The groups of the hosts: the source needs client programs, because its server is elsewhere.
SUITES = {"bookworm": "couch2pg_source", "trixie": "couch2pg_target", "bullseye": "couch2pg_app_source"}


class Bare:
    """Hosts without systemd or SSH, which Ansible reaches through Docker."""

    def __init__(self, docker: Engine, folder: Path) -> None:
        self.docker = docker
        self.folder = folder
        name = uuid.uuid4().hex[:8]
        self.containers = {suite: f"couch2pg-prepare-{name}-{suite}" for suite in SUITES}

    def __enter__(self) -> Bare:
        through = [word for key, value in proxy().items() for word in ("--env", f"{key}={value}")]
        for suite, container in self.containers.items():
            image = base(self.docker, suite)
            self.docker.run(
                "run", "--detach", "--network", "host", "--name", container, *through, image, "sleep", "infinity"
            )
            install = "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 sudo"
            self.run(suite, install)
        return self

    def __exit__(self, *_exc: object) -> None:
        for container in self.containers.values():
            self.docker.run("rm", "--force", container)

    def run(self, suite: str, script: str) -> str:
        return self.docker.run("exec", self.containers[suite], "sh", "-c", script)

    def prepare(self, *arguments: str, **of_source: Any) -> Run:
        """The playbook on all of them."""
        hosts: dict[str, dict[str, Any]] = {
            suite: {"ansible_connection": "community.docker.docker", "ansible_host": container}
            for suite, container in self.containers.items()
        }
        hosts["bookworm"].update(couch2pg_login_host="db.invalid", **of_source)
        inventory = self.folder / "inventory.json"
        of_all = {
            "ansible_python_interpreter": "/usr/bin/python3",
            "couch2pg_records_dir": str(self.folder / "records"),
        }
        groups = {group: {"hosts": {suite: hosts[suite]}} for suite, group in SUITES.items()}
        inventory.write_text(json.dumps({"all": {"vars": of_all, "children": groups}}), encoding="utf-8")
        done = subprocess.run(
            [PROGRAM, f"{ROOT}/playbooks/prepare.yml", "-i", str(inventory), *arguments],
            env={**environment(), **self.docker.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=500,
        )
        return Run(done.returncode, done.stdout)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    with engine() as docker, Bare(docker, tmp_path) as made:
        yield made


def test_what_is_missing_is_installed(bare: Bare) -> None:
    shown = bare.prepare("--check")
    assert (shown.code, shown.changed) == (0, len(SUITES)), shown.output
    assert shown.output.count("Check mode: nothing was changed. Without --check, the run installs ") == len(SUITES)
    absent = "! command -v rsync && ! python3 -c 'import psycopg2' 2>/dev/null"
    assert all(bare.run(suite, absent) == "" for suite in SUITES)

    # Nothing is half done where PostgreSQL's own repository isn't configured.
    other = bare.prepare(couch2pg_client_major=11)
    assert (
        "python3-psycopg2, rsync, openssh-client, postgresql-client-11 can't be installed from the repositories"
        in other.message
    )
    assert "PostgreSQL 11 may need its own repository there: https://www.postgresql.org/download/." in other.message

    made = bare.prepare()
    assert (made.code, made.changed > 0) == (0, True), made.output
    for suite in SUITES:
        assert bare.run(suite, "command -v rsync ssh && python3 -c 'import psycopg2; print(psycopg2.__version__)'")
    assert "pg_dump (PostgreSQL) 15" in bare.run("bookworm", "pg_dump --version")
    assert bare.run("trixie", "command -v pg_dump || true") == ""

    again = bare.prepare()
    assert (again.code, again.changed) == (0, 0), again.output
    checked = bare.prepare("--check")
    assert checked.changed == 0
    assert checked.output.count("Check mode: nothing was changed. Everything is installed already.") == len(SUITES)
