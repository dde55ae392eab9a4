# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source whose server listens on its own host only is copied through SSH, between network name spaces."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import server
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.plugin_utils import way_guard
from support.background import wait_until
from support.cabled_hosts import Host, Network, namespace
from support.clusters import Cluster
from support.migration import RUN_SECONDS, Migration, Run, column
from support.ports import free_port

KEYS = Path("/root/.ssh/authorized_keys")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def apart(
    network: Network, make_migration: Callable[..., Any], source_cluster: Cluster, target_cluster: Cluster
) -> Migration:
    """A migration by stream between hosts that see each other's sshd; each reaches its server by the Unix socket alone."""
    migration: Migration = make_migration(source_cluster, target_cluster, documents=30000)
    migration.variables.update(
        couch2pg_method="stream", couch2pg_transfer_address=network.source_for_target, couch2pg_progress_seconds=0.5
    )
    for side, host, cluster in (
        ("source", network.source, source_cluster),
        ("target", network.target, target_cluster),
    ):
        # This machine's root, whose Python has psycopg2.
        ours = {name: value for name, value in host.variables.items() if name.startswith("ansible_")}
        migration.host_variables[side] = {
            **ours,
            "ansible_python_interpreter": sys.executable,
            "couch2pg_login_host": "",
            "couch2pg_login_unix_socket": str(cluster.socket_directory),
        }
    return migration


def settings_of(cluster: Cluster, **other: Any) -> ConnectionSettings:
    return replace(ConnectionSettings("postgres", cluster.host, cluster.port, password=cluster.password), **other)


def test_the_target_logs_in_directly_where_it_may(source_cluster: Cluster) -> None:
    chosen = server.choose(settings_of(source_cluster), "auto", ("127.0.0.1", free_port()), [])
    assert chosen["way"] == "direct"
    assert "the target may log in to the source's server, and the network link carries" in chosen["reason"]


def test_the_controller_is_the_last_way(source_cluster: Cluster) -> None:
    """Only where it logs in to both hosts, and the source has a login to lead to."""
    nobody = settings_of(source_cluster, port=free_port())
    chosen = server.choose(nobody, "auto", ("127.0.0.1", free_port()), [], controller=True)
    assert chosen["way"] == "controller"
    assert re.search(
        r"can't be reached.* The way through SSH isn't possible either: .*sshd at 127.0.0.1", chosen["reason"]
    )
    assert server.choose(nobody, "controller", ("127.0.0.1", 22), [], controller=True)["reason"] == "it was requested"
    shell = ["The shell of postgres is nologin."]
    for wanted, of_source, options, why in (
        ("controller", [], {"controller": False}, "ansible_connection"),
        ("controller", shell, {"controller": True}, "The shell of postgres is nologin."),
        ("controller", [], {"controller": True, "on_source": False}, "not on the source's own host"),
        ("auto", shell, {"controller": True}, "The shell of postgres is nologin."),
        ("ssh", [], {"controller": True}, "Set couch2pg_copy_way to controller."),
        # Advice of another way that is closed, too, would lead nowhere.
        ("ssh", [], {"controller": False}, "sshd at 127.0.0.1"),
        ("ssh", shell, {"controller": True}, "The shell of postgres is nologin."),
        ("ssh", [], {"controller": True, "on_source": False}, "not on the source's own host"),
    ):
        with pytest.raises(MigrationError) as raised:
            server.choose(nobody, wanted, ("127.0.0.1", free_port()), of_source, **options)
        assert why in raised.value.message
        open_way = wanted != "controller" and options == {"controller": True} and not of_source
        assert ("Set couch2pg_copy_way to controller." in raised.value.message) == open_way


@pytest.mark.parametrize("wanted", ["auto", "ssh"])
def test_neither_way_is_open(source_cluster: Cluster, wanted: str) -> None:
    """Both reasons are said, with what to do."""
    nobody = settings_of(source_cluster, port=free_port())
    with pytest.raises(MigrationError) as raised:
        server.choose(nobody, wanted, ("127.0.0.1", free_port()), ["The shell of postgres is nologin."])
    assert "sshd at 127.0.0.1" in raised.value.message
    assert "The shell of postgres is nologin." in raised.value.message
    assert (raised.value.code, "can't be reached" in raised.value.message) == (
        ("unreachable", True) if wanted == "auto" else ("ssh_impossible", False)
    )


def test_a_service_is_reached_directly_only(source_cluster: Cluster) -> None:
    """What the source's host sends to another one would not be encrypted."""
    nobody = settings_of(source_cluster, port=free_port())
    with pytest.raises(
        MigrationError, match=r"can't be reached.*The way through SSH isn't possible either: the server is not on"
    ):
        server.choose(nobody, "auto", ("127.0.0.1", 22), [], on_source=False)


def test_where_the_gate_leads_to(source_cluster: Cluster) -> None:
    assert server.place(settings_of(source_cluster)) == (source_cluster.host, source_cluster.port)
    by_socket = settings_of(source_cluster, host="", unix_socket=str(source_cluster.socket_directory))
    assert server.place(by_socket) == (str(source_cluster.socket_directory), source_cluster.port)


def begin(migration: Migration, network: Network, *arguments: str) -> tuple[Path, Any]:
    output = migration.folder / "output"
    output.unlink(missing_ok=True)
    return output, migration.start(output, "migrate", *arguments, through=network.controller)


def end(output: Path, process: Any) -> Run:
    return Run(process.wait(timeout=RUN_SECONDS), output.read_text(encoding="utf-8"))


def wait_for_rows(folder: Path, output: Path, process: Any) -> None:
    """Until the first rows are copied."""

    def copies() -> bool:
        progress = json.loads((folder / "progress.json").read_text()) if (folder / "progress.json").exists() else {}
        return any(track["name"] == "rows" and track["done"] > 0 for track in progress.get("tracks", []))

    wait_until("rows are copied", lambda: copies() or process.poll() is not None, RUN_SECONDS)
    assert process.poll() is None, output.read_text()


@contextmanager
def restarted(host: Host, **options: str) -> Iterator[None]:
    """Meanwhile, the host's sshd has other options."""
    try:
        host.power_off()
        host.sshd_options = options
        host.start()
        yield
    finally:
        host.power_off()
        host.sshd_options = {}
        host.start()


def ways() -> list[Path]:
    """What the controller has for its ways."""
    return list(Path(tempfile.gettempdir()).glob("couch2pg-way-*"))


def holders() -> list[int]:
    """The processes of ssh on the controller that are its ways."""
    listed = subprocess.run(
        ["ip", "netns", "pids", namespace("controller")], capture_output=True, text=True, check=True
    ).stdout
    found = []
    for pid in listed.split():
        with suppress(FileNotFoundError, ProcessLookupError):
            if way_guard.READY.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def check_the_job_ends(folder: Path) -> None:
    """After the controller has closed its way."""
    wait_until("the way is closed", lambda: not ways() and not holders(), 30)
    wait_until("the job has ended", lambda: job.read_state(folder).status != "running", 120)
    error = job.read_state(folder).result["error"]
    assert error["code"] in ("unreachable", "connection_lost", "gate_refused")
    assert "source, through SSH" in error["message"]
    assert "run again" in error["message"]


def check_nothing_is_left(migration: Migration) -> None:
    folder = migration.state / "jobs" / "restore"
    gate = migration.state / "gate"
    assert not (folder / "key").exists()
    assert not gate.exists()
    assert not KEYS.exists() or "cht.couch2pg" not in KEYS.read_text()
    assert [*processes.of_job(folder), *processes.of_job(gate)] == []
    assert list(Path(tempfile.gettempdir()).glob(f"couch2pg-????????-{os.getpid()}-*")) == []


@pytest.mark.long
def test_a_source_that_listens_on_its_own_host_only(apart: Migration, network: Network) -> None:
    apart.variables["couch2pg_copy_way"] = "direct"
    refused = end(*begin(apart, network))
    assert refused.code
    assert "PostgreSQL at" in refused.message
    assert "can't be reached" in refused.message
    del apart.variables["couch2pg_copy_way"]

    predicted = end(*begin(apart, network, "--check"))
    assert predicted.code == 0, predicted.output
    assert "The way to the source's server is ssh" in predicted.output
    assert not apart.state.exists() or not (apart.state / "gate").exists()

    # Slow enough that every connection can be cut in the middle of the rows.
    apart.variables["couch2pg_rate_limit"] = "4 MB"
    output, process = begin(apart, network)
    folder = apart.state / "jobs" / "restore"

    wait_for_rows(folder, output, process)
    key = folder / "key" / "id"
    assert key.stat().st_mode & 0o077 == 0
    stolen = ["ssh", "-F", str(folder / "key" / "ssh_config"), "couch2pg-source", "id"]
    answer = subprocess.run([*network.target.inside, *stolen], capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode
    assert "may only read what its migration copies" in answer.stderr
    tunnels = [pid for pid in processes.of_job(folder) if processes.name(pid) == "ssh"]
    assert tunnels
    processes.kill_all(tunnels)
    done = end(output, process)
    assert done.code == 0, done.output
    assert done.warnings == []
    assert "Trying again" in (folder / "log").read_text()
    check_nothing_is_left(apart)
    count = "SELECT count(*) FROM couchdb"
    assert column(apart.target, count, apart.database) == column(apart.source, count, apart.database)
    again = end(*begin(apart, network))
    assert (again.code, again.changed) == (0, 0), again.output


@pytest.mark.long
def test_hosts_that_only_the_controller_reaches(apart: Migration, network: Network) -> None:
    apart.variables["couch2pg_transfer_address"] = network.source_for_target
    apart.variables["couch2pg_rate_limit"] = "2 MB"
    folder = apart.state / "jobs" / "restore"
    network.cut()
    try:
        predicted = end(*begin(apart, network, "--check"))
        assert predicted.code == 0, predicted.output
        assert "The way to the source's server is controller: PostgreSQL at" in predicted.output
        assert (
            "The way through SSH isn't possible either: The target doesn't reach the source's sshd" in predicted.output
        )

        # An sshd that carries nothing is said, and nothing has begun.
        with restarted(network.target, AllowTcpForwarding="no"):
            refused = end(*begin(apart, network))
        assert "The way through the controller could not be opened: " in refused.message
        assert "remote port forwarding failed" in refused.message
        assert (ways(), holders(), folder.joinpath("key").exists()) == ([], [], False)

        # Ctrl-C closes the way; then the job ends.
        output, process = begin(apart, network)
        wait_for_rows(folder, output, process)
        assert [path.stat().st_mode & 0o077 for path in ways()] == [0]
        assert len(holders()) == 2
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=RUN_SECONDS)
        assert "continues, if it was started" in output.read_text()
        check_the_job_ends(folder)

        # A run that is killed closes it, too.
        output, process = begin(apart, network)
        wait_until("the way is open", lambda: len(holders()) == 2 or process.poll() is not None, RUN_SECONDS)
        assert process.poll() is None, output.read_text()
        process.kill()
        process.wait()
        check_the_job_ends(folder)

        # The next one goes on where the copy was.
        done = end(*begin(apart, network))
        assert done.code == 0, done.output
        assert done.warnings == []
        assert "Restarted" not in (folder / "log").read_text()
        assert apart.record["phases"]["restore"]["result"]["resumed_chunks"] > 0
        check_nothing_is_left(apart)
        assert (ways(), holders()) == ([], [])
        count = "SELECT count(*) FROM couchdb"
        assert column(apart.target, count, apart.database) == column(apart.source, count, apart.database)
    finally:
        network.restore()
