# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A search for couch2pg that Docker or systemd refuses is no proof that there is none; what is printed makes it complete."""

from __future__ import annotations

import re
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest
from support.docker_engine import engine
from support.modules import run_module
from support.systemd import SystemdHost
from support.unix_relay import relay

# Not root, but a user who can read this checkout wherever it lies.
AS_USER = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"]
AS_USER += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]


def search(place: Path, through: list[str], module: str = "couch2pg_info", **options: Any) -> dict[str, Any]:
    return run_module(module, options, environment={"DOCKER_HOST": f"unix://{place}"}, through=through)


def test_a_docker_that_does_not_run(tmp_path: Path) -> None:
    """It runs no couch2pg now; it may have one all the same."""
    place = tmp_path / "docker.sock"
    remedy = (
        r"One in a container may have been missed: .* Start Docker if it doesn't run \(sudo systemctl start docker\)"
    )
    found = search(place, [], sync=True)
    assert (found["found"], found["deployment"]["kind"]) == (False, "none")
    assert re.search(remedy, found["reason"])
    assert re.search(remedy, found["not_current"][0])
    for side, status in (("source", "warning"), ("target", "failure")):
        (finding,) = search(place, [], "couch2pg_preflight", side=side)["findings"]
        assert finding["status"] == status
        assert re.search(remedy, finding["message"])
    refused = search(place, [], "couch2pg_service", state="started")
    assert refused["code"] == "deployment_missing"
    assert re.search(remedy, refused["msg"])
    # Who says that there is none gets no doubts.
    told = search(place, [], deployment={"kind": "none"})
    assert (told["found"], "missed" in told["reason"]) == (False, False)


@contextmanager
def refusing(folder: Path) -> Iterator[Path]:
    """A socket that nobody but root may use."""
    place = folder / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()
        place.chmod(0o600)
        yield place


def test_a_docker_that_refuses(tmp_path: Path) -> None:
    with refusing(tmp_path) as place:
        for module, options in (
            ("couch2pg_info", {}),
            ("couch2pg_service", {"state": "stopped"}),
            ("couch2pg_preflight", {"side": "source"}),
        ):
            answer = search(place, AS_USER, module, **options)
            refused = answer if "code" in answer else {"code": "", "msg": answer["findings"][0]["message"], **answer}
            assert refused.get("failed") or not refused["ready"], refused
            assert "Whether couch2pg runs in a container of this host is unknown." in refused["msg"]
            assert "sudo usermod --append --groups docker daemon lets this user use Docker" in refused["msg"]
        assert "couch2pg_app_become: true" in refused["msg"]
        kind = re.findall(r"couch2pg_app: \{kind: (\w+)\}", refused["msg"])[0]
        assert search(place, AS_USER, deployment={"kind": kind})["found"] is False


def test_a_docker_that_does_not_tell_an_address(tmp_path: Path) -> None:
    """A name in couch2pg's settings may be that of a container."""
    file = tmp_path / "couch2pg.env"
    url = "postgresql://couch2pg:secret@{}:1/cht"
    with refusing(tmp_path) as place:

        def asked(host: str) -> dict[str, Any]:
            file.write_text(f"COUCHDB_URL=http://m:m@localhost:1/medic\nPOSTGRESQL_URL={url.format(host)}\n", "utf-8")
            deployment = {"kind": "env_file", "env_file": str(file)}
            return search(place, AS_USER, sync=True, deployment=deployment, **reach)

        reach: dict[str, Any] = {}
        refused = asked("cht-postgres.invalid")
        assert refused["code"] == "container_unreadable", refused
        assert "doesn't know the name cht-postgres.invalid in couch2pg's settings" in refused["msg"]
        assert "sudo usermod --append --groups docker daemon lets this user use Docker" in refused["msg"]
        # As the message says: an address that works here.
        reach = {"login_host": "localhost"}
        assert "CouchDB at http://localhost:1 can't be reached" in asked("cht-postgres.invalid")["msg"]
        # This host knows the name.
        reach = {}
        assert "CouchDB at http://localhost:1 can't be reached" in asked("localhost")["msg"]


def test_a_systemd_that_refuses(tmp_path: Path) -> None:
    """Without D-Bus, it answers root only."""
    nowhere = tmp_path / "docker.sock"
    with SystemdHost(tmp_path / "host") as host:
        host.unit("couch2pg.service", "[Service]\nExecStart=/usr/bin/sleep 1000\n")
        refused = search(nowhere, [*host.through, *AS_USER])
        assert refused["code"] == "unit_unreadable", refused
        assert "Set couch2pg_app_become: true for this host" in refused["msg"]
        assert search(nowhere, host.through)["found"] is True
        assert search(nowhere, [*host.through, *AS_USER], deployment={"kind": "none"})["found"] is False


@pytest.mark.long
def test_who_may_use_docker_finds_it(tmp_path: Path) -> None:
    place = tmp_path / "docker.sock"
    # Root, without what lets root read every file.
    as_user = ["setpriv", "--reuid=0", "--init-groups", "--bounding-set=-dac_override,-dac_read_search"]
    with engine() as docker, SystemdHost(tmp_path / "host") as host:
        goal = docker.environment.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        with relay(place, goal):
            host.run("chown", "daemon:docker", str(place))
            place.chmod(0o660)
            refused = search(place, [*host.through, *as_user])
            assert refused["code"] == "container_unreadable", refused
            command = re.findall(r"sudo (usermod \S+ \S+ docker root) lets", refused["msg"])[0]
            host.run("sh", "-c", command)
            answer = search(place, [*host.through, *as_user])
            assert (answer["found"], "missed" in answer["reason"]) == (False, False), answer
