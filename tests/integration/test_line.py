# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight measures the line between two networks, and its estimate follows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
from support import binaries
from support.cabled_hosts import Network, inside
from support.clusters import Cluster
from support.migration import RUN_SECONDS, Migration, column, execute
from support.modules import login, run_module
from support.places import work_folder
from support.ports import free_port
from support.preflight import finding

pytestmark = pytest.mark.long
DATABASE = "checked"
LINES = "host all all samenet scram-sha-256\n"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture(scope="module")
def source(network: Network) -> Iterator[Cluster]:
    """A server on the source's network, which the target reaches by the cable."""
    folder = work_folder("clusters") / f"line-{network.source.user}"
    cluster = Cluster.create(folder, binaries.binaries(16), settings={"listen_addresses": "*"})
    try:
        with (cluster.data_directory / "pg_hba.conf").open("a", encoding="utf-8") as file:
            file.write(LINES)
        with inside("source"):
            cluster.start()
            execute(cluster, f"CREATE DATABASE {DATABASE}")
            execute(
                cluster,
                "CREATE TABLE couchdb (doc jsonb); "
                "INSERT INTO couchdb SELECT jsonb_build_object('a', repeat(md5(i::text), 20)) FROM generate_series(1, 20000) AS i",
                DATABASE,
            )
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture(scope="module")
def facts(
    network: Network, source: Cluster, client_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("line")
    place = {"migration_id": "m", "state_dir": str(folder), "staging_dir": str(folder), "bin_dir": str(client_dir)}
    given = {**login(source, DATABASE), **place, "side": "source"}
    found: dict[str, Any] = run_module("preflight", given, through=network.source.inside)["facts"]
    # The hosts of this test are one machine.
    found["sizes"]["machine"] = "another"
    # Enough for the line to count.
    found["sizes"]["archive"] = {"text_bytes": 4 * 10**9, "compressed_bytes": 10**9}
    return found


@pytest.fixture
def estimate(network: Network, target_cluster: Cluster, facts: dict[str, Any], client_dir: Path, tmp_path: Path) -> Any:
    """The finding on the target, which logs in to the source's server, or does not."""

    def look_there(**options: Any) -> dict[str, Any]:
        given = {
            **login(target_cluster, DATABASE),
            "login_host": "",
            "login_unix_socket": str(target_cluster.socket_directory),
            "migration_id": "m",
            "state_dir": str(tmp_path),
            "staging_dir": str(tmp_path),
            "bin_dir": str(client_dir),
            "side": "target",
            "source": facts,
            "incoming": f"{DATABASE}_incoming",
            "method": "stream",
        }
        return finding(run_module("preflight", {**given, **options}, through=network.target.inside), "estimate")

    return look_there


def archive_seconds(told: dict[str, Any]) -> int:
    (shortest,) = [each["shortest"] for each in told["details"]["estimates"] if each["method"] == "archive"]
    return int(shortest)


def test_the_line_is_measured_and_the_estimate_follows(network: Network, source: Cluster, estimate: Any) -> None:
    server = {**login(source, DATABASE), "login_host": network.source_for_target}
    told = {}
    for megabits in (20, 200):
        network.throttle(f"{megabits}mbit")
        told[megabits] = estimate(server=server, _ansible_check_mode=True)
        rate = megabits * 1e6 / 8
        assert rate / 2 < told[megabits]["details"]["line"] < rate * 2
        assert "the network link carries" in told[megabits]["message"]
        assert "100 Mbit/s" not in told[megabits]["message"]
    # 1 GB over 2.5 MB and over 25 MB in a second.
    assert archive_seconds(told[20]) - archive_seconds(told[200]) > 200
    with inside("source"):
        assert column(source, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()", DATABASE) == [
            1
        ]


def test_a_line_that_can_t_be_measured_is_said(network: Network, source: Cluster, estimate: Any) -> None:
    server = {**login(source, DATABASE), "login_host": network.source_for_target, "login_port": free_port()}
    for options, why in (({"server": server}, "can't be reached"), ({}, "does not log in to the source's server")):
        told = estimate(**options, _ansible_check_mode=True)
        assert told["details"]["line"] == 0
        assert says_why(told["message"], why)


def test_the_playbook_measures_the_line_that_the_method_takes(
    network: Network, source: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    """The target is another machine, and knows the source's server by another address than the controller."""
    network.throttle("20mbit")
    (tmp_path / "boot_id").write_text("another\n", encoding="ascii")
    network.target.power_off()
    network.target.before = f"mount --bind '{tmp_path / 'boot_id'}' /proc/sys/kernel/random/boot_id"
    network.target.start()
    hosts = {
        host.name: {
            **{name: value for name, value in host.variables.items() if name.startswith("ansible_")},
            "ansible_python_interpreter": sys.executable,
            "couch2pg_login_host": "",
            "couch2pg_login_unix_socket": str(cluster.socket_directory),
        }
        for host, cluster in ((network.source, source), (network.target, target_cluster))
    }
    migration = Migration(source, target_cluster, client_dir, tmp_path, DATABASE, host_variables=hosts)
    migration.variables["couch2pg_stream_address"] = network.source_for_target
    for method, said in (
        ("stream", "the network link carries 2."),
        ("archive", "1 Gbit/s is assumed for the network link: this host does not log in to the source's server"),
    ):
        migration.variables["couch2pg_method"] = method
        output = tmp_path / method
        process = migration.start(output, "preflight", "--check", through=network.controller)
        process.wait(timeout=RUN_SECONDS)
        assert said in output.read_text(encoding="utf-8"), output.read_text(encoding="utf-8")


def says_why(message: str, why: str) -> bool:
    return (
        "1 Gbit/s is assumed for the network link: " in message
        and why in message
        and "over a network link of 100 Mbit/s" in message
    )
