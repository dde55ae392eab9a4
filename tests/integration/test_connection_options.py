# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server with TLS that wants a certificate, and whose database postgres is closed: for psycopg2 and PostgreSQL's programs."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.gate import server as gate_server
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from support import binaries, certificate, modules, places, seed
from support.background import wait_until
from support.clusters import Cluster
from support.migration import execute
from support.modules import run_module

ROLE = "test"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="closed-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.translated()) as cluster:
        for name in ("server", "role"):
            certificate.make(folder / f"{name}.pem", folder / f"{name}.key")
            (folder / f"{name}.key").chmod(0o600)
        for path in ("server.pem", "server.key", "role.pem"):
            places.server_account().give(folder / path)
        (cluster.data_directory / "pg_hba.conf").write_text(
            f"hostssl all {ROLE} all cert\nlocal all {ROLE} peer\nlocal all all trust\nhost all postgres all scram-sha-256\n",
            encoding="utf-8",
        )
        for name, value in (
            ("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key"), ("ssl_ca_file", "role.pem")
        ):  # fmt: skip
            execute(cluster, f"ALTER SYSTEM SET {name} = '{folder / value}'")
        execute(cluster, "ALTER SYSTEM SET ssl = on")
        execute(cluster, f"CREATE ROLE {ROLE} LOGIN CREATEDB")
        execute(cluster, "CREATE DATABASE defaultdb")
        execute(cluster, "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; SELECT pg_reload_conf()")
        seed.create_database(cluster, "closed", ROLE)
        execute(
            cluster, f"SET ROLE {ROLE}; CREATE TABLE couchdb (doc jsonb); INSERT INTO couchdb VALUES ('1')", "closed"
        )
        yield cluster


def login(server: Cluster, **options: Any) -> dict[str, Any]:
    folder = server.data_directory.parent
    given = {
        "database": "closed",
        "login_host": "127.0.0.1",
        "login_port": server.port,
        "login_user": ROLE,
        "ssl_mode": "verify-full",
        "ca_cert": str(folder / "server.pem"),
        "ssl_cert": str(folder / "role.pem"),
        "ssl_key": str(folder / "role.key"),
        "maintenance_database": "defaultdb",
    }
    return {**given, **options}


def test_the_certificate_is_the_login(server: Cluster, tmp_path: Path) -> None:
    without = run_module("table_info", login(server, ssl_cert="", ssl_key=""))
    assert without["failed"], without
    assert run_module("table_info", login(server))["tables"][0]["rows"] == 1
    work = {"migration_id": "m1", "state_dir": str(tmp_path), "staging_dir": str(tmp_path / "staging")}
    bin_dir = str(binaries.translated().bin_dir)
    dumped = run_module("pg_dump", login(server, bin_dir=bin_dir, **work))
    assert dumped.get("rows") == 1, dumped
    restored = run_module(
        "pg_restore",
        login(
            server,
            database="moved",
            bin_dir=bin_dir,
            archive=dumped["archive"],
            incoming="moved_incoming",
            migration_id="m1",
            state_dir=str(tmp_path),
        ),
    )
    assert restored.get("rows") == 1, restored


def test_a_socket_that_asks_for_another_user_of_the_host(server: Cluster) -> None:
    socket = {"login_host": "", "login_unix_socket": str(server.socket_directory), "ssl_mode": "prefer"}
    refused = run_module("table_info", login(server, **socket))
    assert (refused["code"], refused["details"]["sqlstate"]) == ("authentication", "28000")
    assert f"connects as '{ROLE}', and '{getpass.getuser()}' may not: set couch2pg_become_user" in refused["msg"]
    # As a user who may.
    assert run_module("table_info", login(server, **socket, login_user="postgres"))["tables"][0]["rows"] == 1


def test_a_parameter_of_libpq_is_used(server: Cluster) -> None:
    refused = run_module("table_info", login(server, connect_params={"ssl_min_protocol_version": "nonsense"}))
    assert "nonsense" in refused["msg"]


@pytest.mark.parametrize(
    ("version", "fits"), [("2.7.7 (dt dec pq3 ext lo64)", False), ("2.8 (dt dec pq3)", True), ("2.10.1", True)]
)
def test_the_oldest_psycopg2(source_cluster: Cluster, tmp_path: Path, version: str, fits: bool) -> None:
    """The real one, which says that it is another."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import psycopg2\npsycopg2.__version__ = {version!r}\n", encoding="utf-8"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    asked = run_module("table_info", modules.login(source_cluster, "postgres"), environment={"PYTHONPATH": path})
    if fits:
        assert not asked.get("failed"), asked
    else:
        assert asked["code"] == "psycopg2_old"
        assert "version 2.7.7; 2.8 or later is needed." in asked["msg"]


def test_a_server_that_demands_tls_has_no_way_through_ssh(server: Cluster, tmp_path: Path) -> None:
    """On a Unix socket, which the target's end would be, libpq has no TLS."""
    refused = run_module(
        "transfer_key",
        {
            "side": "source",
            "server": login(server),
            "public_key": "ssh-ed25519 AAAA",
            "migration_id": "m1",
            "state_dir": str(tmp_path),
        },
    )
    assert refused["code"] == "gate_not_opened", refused
    assert "refuses connections without TLS from its own host" in refused["msg"]
    assert "couch2pg_login_unix_socket" in refused["msg"]
    # A role that logs in with a certificate has no use for a line.
    assert "pg_hba.conf there" not in refused["msg"]
    assert not (tmp_path / "m1").exists()


@pytest.mark.parametrize("otherwise", ["", "hostnossl all all all reject\n"])
def test_the_line_that_lets_it_in_without_tls(server: Cluster, otherwise: str) -> None:
    """Where the server has none for it, and where it has one that refuses it."""
    password = seed.create_role(server, "With TLS")
    hba = server.data_directory / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")

    def let_in(lines: str) -> None:
        hba.write_text(f"{lines}{before}", encoding="utf-8")
        execute(server, "SELECT pg_reload_conf()")

    lines = f'{otherwise}hostssl all "With TLS" all scram-sha-256\n'
    settings = ConnectionSettings("closed", "127.0.0.1", server.port, "With TLS", password, ssl_mode="require")
    try:
        let_in(f"host all postgres all scram-sha-256\n{lines}")
        wait_until("TLS is demanded", lambda: refusal(settings))
        let_in(f"host all postgres all scram-sha-256\n{refusal(settings).split('then run again: ')[1]}\n{lines}")
        wait_until("it is let in", lambda: not refusal(settings))
        assert gate_server.place(settings) == ("127.0.0.1", server.port)
    finally:
        let_in("")
        execute(server, 'DROP ROLE "With TLS"')


def refusal(settings: ConnectionSettings) -> str:
    """What keeps the gate from this server; empty when nothing does."""
    try:
        gate_server.place(settings)
    except MigrationError as error:
        # Before the server has read its lines, it refuses the role altogether.
        return error.message if error.code == "gate_not_opened" else ""
    return ""
