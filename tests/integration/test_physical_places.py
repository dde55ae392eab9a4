# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method physical between servers that administrators have laid out in their own ways."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import placement, switch
from support import binaries, places
from support.clusters import Cluster
from support.migration import Migration, column, execute

PASSWORD = "p" * 16


@contextlib.contextmanager
def server(major: int, name: str) -> Iterator[Cluster]:
    """A server in a folder of this name, whose WAL is on another disk, as a link says."""
    folder = Path(tempfile.mkdtemp(prefix="places-", dir=places.work_folder("clusters")))
    folder.chmod(0o755)
    account = places.server_account()
    settings = {"unix_socket_directories": str(folder)}
    account.give(folder)
    with Cluster.create(folder / name, binaries.binaries(major), settings=settings) as cluster:
        cluster.stop()
        wal = cluster.data_directory / "pg_wal"
        shutil.move(wal, folder / "wal")
        wal.symlink_to(folder / "wal")
        # The data directory itself is a link, too, and the server is told so with a slash.
        cluster.data_directory.rename(cluster.directory / "real data")
        cluster.data_directory.symlink_to(cluster.directory / "real data")
        (cluster.directory / "archive").mkdir()
        for path in (cluster.directory, cluster.directory / "archive"):
            account.give(path)
        cluster.start()
        execute(cluster, f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
        cluster.password = PASSWORD
        cluster.remember("postgres", PASSWORD)
        yield cluster
    shutil.rmtree(folder)


def archived(cluster: Cluster) -> set[str]:
    return {path.name for path in (cluster.directory / "archive").iterdir()}


def archiving(cluster: Cluster) -> None:
    """Let the server archive its WAL beside its data directory."""
    folder = cluster.directory / "archive"
    execute(cluster, "ALTER SYSTEM SET archive_mode = 'on'")
    execute(cluster, f'ALTER SYSTEM SET archive_command = \'cp "%p" "{folder}/%f"\'')


@pytest.fixture(params=[(16, 18), (15, 15)], ids=["newer", "same"])
def odd(request: pytest.FixtureRequest) -> Iterator[tuple[Cluster, Cluster]]:
    with server(request.param[0], "source") as source, server(request.param[1], "a target, here") as target:
        yield source, target
        for path in target.directory.glob("real data*/"):
            switch.stop_server(path)


@pytest.mark.long
# They go in the other order.
def test_servers_in_odd_places(odd: tuple[Cluster, Cluster], make_migration: Callable[..., Any]) -> None:
    source, target = odd
    migration: Migration = make_migration(source, target)
    same = source.binaries.major == target.binaries.major
    if same:
        migration.bin_dir = source.binaries.bin_dir
    archiving(source)
    execute(source, "ALTER SYSTEM SET primary_conninfo = 'host=192.0.2.1 password=secret'")
    execute(source, "ALTER SYSTEM SET recovery_target_timeline = '1'")
    archiving(target)
    configuration = target.data_directory / "conf.d"
    configuration.mkdir()
    (configuration / "own.conf").write_text("work_mem = '11MB'\n", encoding="utf-8")
    with (target.data_directory / "postgresql.conf").open("a", encoding="utf-8") as file:
        # The builds of the others have none.
        file.write(f"include_dir = 'conf.d'\nssl = {'on' if same else 'off'}\n")
    _certificate(target)
    spaces = target.directory / "fast disk"
    spaces.mkdir()
    for path in (configuration, configuration / "own.conf", spaces):
        places.server_account().give(path)
    for cluster in (source, target):
        cluster.stop()
        cluster.start()
    execute(target, f"CREATE TABLESPACE fast LOCATION '{spaces}'")
    execute(target, f"CREATE DATABASE {migration.database} TABLESPACE fast")
    before = column(target, "SELECT system_identifier FROM pg_control_system()")
    real = target.data_directory.resolve()
    stop, start = placement.hand_commands(real.owner(), real, real / "postgresql.conf", target.binaries.bin_dir)
    migration.variables.update(
        couch2pg_method="physical",
        couch2pg_physical_commands={"stop": stop, "start": start},
        couch2pg_physical_bin_dir=str(source.binaries.bin_dir),
    )
    run = migration.run("migrate")
    assert run.code == 0, run.output
    shown = "SELECT setting FROM pg_settings WHERE name IN ('work_mem', 'ssl', 'archive_mode', 'primary_conninfo') ORDER BY name"
    assert column(target, shown) == ["on", "", "on" if same else "off", "11264"]
    found = {entry["name"]: entry for entry in migration.record["phases"]["preflight"]["result"]["target"]}
    elsewhere = found["files elsewhere"]["message"]
    assert f"its WAL ({target.directory.parent / 'wal'}), the tablespace fast outside {real}." in elsewhere
    assert found["archive of WAL"]["status"] == "warning"
    assert not list(real.glob("../*_incoming_*"))
    assert not {name for name in archived(source) if name.startswith("00000002")}
    back = migration.run("rollback")
    assert back.code == 0, back.output
    assert column(target, "SELECT system_identifier FROM pg_control_system()") == before
    assert column(target, "SELECT spcname FROM pg_tablespace WHERE spcname = 'fast'") == ["fast"]
    assert column(target, "SELECT 1", migration.database) == [1]


def _certificate(cluster: Cluster) -> None:
    """Where PostgreSQL looks for one: in the data directory."""
    key, certificate = (cluster.data_directory / f"server.{end}" for end in ("key", "crt"))
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    for path in (key, certificate):
        path.chmod(0o600)
        places.server_account().give(path)
