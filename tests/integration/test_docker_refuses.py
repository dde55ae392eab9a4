# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker that doesn't run, and one that a user may not use: what is printed is done, and the same call gets its answer."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.docker_engine import engine
from support.modules import run_module
from support.systemd import SystemdHost
from support.unix_relay import relay

# What asks Docker, and the code when there is no such container.
CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a server": (
        "postgres_info",
        {"database": "cht", "kind": "container", "container": "lost"},
        "container_unreadable",
    ),
    "a service": (
        "postgres_info",
        {"database": "cht", "kind": "container", "container": "lost/lost"},
        "container_missing",
    ),
    "a log": ("couch2pg_log_info", {"log": {"kind": "docker", "container": "lost"}}, "log_unreadable"),
}


@pytest.mark.long
def test_docker_refuses(tmp_path: Path) -> None:
    place = tmp_path / "docker.sock"
    variables = {"DOCKER_HOST": f"unix://{place}"}
    # Root, without what lets root read every file.
    as_user = ["setpriv", "--reuid=0", "--init-groups", "--bounding-set=-dac_override,-dac_read_search"]
    with engine() as docker, SystemdHost(tmp_path / "host") as host:

        def ask(call: str) -> tuple[str, str]:
            module, options, _code = CALLS[call]
            found = run_module(module, options, environment=variables, through=[*host.through, *as_user])
            return found["code"], found["msg"]

        for call in CALLS:
            assert "Start Docker if it doesn't run (sudo systemctl start docker)" in ask(call)[1]
        with relay(place, docker.environment.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")):
            shutil.chown(place, "daemon", "docker")
            place.chmod(0o660)
            commands = [re.findall(r"sudo (usermod \S+ \S+ docker root) lets", ask(call)[1]) for call in CALLS]
            assert all(commands), commands
            host.run(*commands[0][0].split())
            for call, (_module, _options, code) in CALLS.items():
                answer = ask(call)
                assert answer[0] == code, answer
                assert re.search("docker ps --all.* shows ", answer[1]), answer


# For a machine without Compose: it needs no daemon for the first two, and the words are those of version 1.29.
COMPOSE = """#!/bin/sh
case "$*" in
*version*) echo 1.29.2 ;;
*config*) cat docker-compose.yml ;;
*) echo "Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))" >&2; exit 1 ;;
esac
"""


@pytest.mark.parametrize("state", [{}, {"state": "stopped"}])
def test_a_compose_that_cannot_ask(state: dict[str, str], tmp_path: Path) -> None:
    """Nobody knows then whether couch2pg runs."""
    (tmp_path / "docker-compose.yml").write_text("services: {couch2pg: {image: couch2pg}}\n", encoding="utf-8")
    program = tmp_path / "docker-compose"
    program.write_text(COMPOSE, encoding="utf-8")
    program.chmod(0o755)
    deployment = {"kind": "compose", "project_dir": str(tmp_path), "service": "couch2pg"}
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    refused = run_module("couch2pg_service", {"deployment": deployment, **state}, environment=variables)
    assert refused["code"] == "container_unreadable", refused
    assert "Start Docker if it doesn't run (sudo systemctl start docker), then run again." in refused["msg"]
