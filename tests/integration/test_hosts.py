# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts that the rehearsals stand on are hosts: booted, apart from each other where they should be, gone afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.docker_engine import engine
from support.hosts import Hosts, Spec
from support.places import SupportError

# It builds images of hosts, which takes minutes.
pytestmark = pytest.mark.long


def over_ssh(hosts: Hosts, name: str, command: str) -> str:
    """As Ansible does it."""
    variables = hosts[name].variables
    options = variables["ansible_ssh_common_args"].replace("'", "").split()
    place = f"{variables['ansible_user']}@{variables['ansible_host']}"
    key = variables["ansible_ssh_private_key_file"]
    asked = ["ssh", *options, "-o", "BatchMode=yes", "-i", key, place, command]
    return subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def test_hosts(tmp_path: Path) -> None:
    specs = [
        Spec("near", networks=("here",)),
        Spec("both", networks=("here", "there"), compose=True),
        Spec("far", networks=("there",)),
    ]
    with engine() as docker:
        with Hosts(docker, tmp_path, specs) as hosts:
            assert over_ssh(hosts, "near", "id -un; sudo id -un; hostname").split() == ["operator", "root", "near"]
            identities = {hosts[spec.name].run("cat", "/etc/machine-id") for spec in specs}
            identities |= {hosts[spec.name].run("cat", "/etc/ssh/ssh_host_ed25519_key.pub") for spec in specs}
            assert len(identities) == 2 * len(specs)

            hosts["near"].run("ping", "-c", "1", "-W", "2", "both")
            hosts["both"].run("ping", "-c", "1", "-W", "2", "far")
            with pytest.raises(SupportError):
                hosts["near"].run("ping", "-c", "1", "-W", "2", hosts["far"].addresses["there"])

            hosts["near"].put("/etc/systemd/system/here.service", "[Service]\nExecStart=/usr/bin/sleep infinity\n")
            hosts["near"].run("systemctl", "start", "here")
            assert "MainPID=0" not in hosts["near"].run("systemctl", "show", "--property", "MainPID", "here")
            assert hosts["near"].run("ls", "/opt/couch2pg/daemon.js", "/usr/bin/node")

            assert "1.29" in hosts["both"].run("docker-compose", "version", "--short")
            assert hosts["both"].run("docker", "compose", "version", "--short").startswith("2.")
            assert "cht-couch2pg" in hosts["both"].run("docker", "images")
            # A daemon of its own doesn't know of the hosts.
            assert hosts.name not in hosts["both"].run("docker", "ps", "--all")
        assert hosts.name not in docker.run("ps", "--all") + docker.run("network", "ls")
