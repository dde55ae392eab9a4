# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of the server that doesn't answer keeps a database from being dropped: it is named, and the next run drops the rest."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.scratch import scratch_database, scratch_name
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import dropping, leftovers
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import database_removal
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.database import find_database
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session, server_identity
from ansible_collections.cht.couch2pg.plugins.module_utils.restore import target_database
from support import seed
from support.cases import rarely
from support.clusters import Cluster
from support.migration import column


@contextmanager
def stopped(cluster: Cluster) -> Iterator[int]:
    """A session in another database whose process is stopped; its number."""
    other = cluster.connect("template1", application_name="a report")
    pid = other.info.backend_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)
        other.close()


def follow(message: str, pid: int) -> None:
    """What it prints lets the process go on."""
    assert f"the client backend {pid} (role 'postgres', database 'template1', program 'a report')" in message
    subprocess.run(shlex.split(message.split("on the server's host (")[1].split(")", maxsplit=1)[0]), check=True)


@pytest.fixture
def settings(target_cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch) -> ConnectionSettings:
    # The server says after five seconds whom it waits for.
    monkeypatch.setattr(database_removal, "SECONDS", 8)
    return ConnectionSettings(database_name, target_cluster.host, target_cluster.port, password=target_cluster.password)


def test_a_scratch_database_can_not_be_dropped(target_cluster: Cluster, settings: ConnectionSettings) -> None:
    """It is among what is left over until it is gone."""
    name = scratch_name("m")
    with Session(settings.maintenance) as session:
        model: dict[str, Any] = dict(find_database(session, "template1") or {}, settings=[])
    with stopped(target_cluster) as pid:
        with pytest.raises(MigrationError) as caught, scratch_database(settings, "m", name, "postgres", model):
            pass
        assert caught.value.code == "server_stuck"
        with Session(settings.maintenance) as session:
            assert name in {row["database"] for row in leftovers.kept_databases(session, "x")}
        follow(caught.value.message, pid)
        with scratch_database(settings, "m", name, "postgres", model):
            pass
    assert column(target_cluster, f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == [0]


@pytest.mark.parametrize("of", ["the source", rarely("a restore")])
def test_a_database_can_not_be_dropped(
    of: str, target_cluster: Cluster, settings: ConnectionSettings, tmp_path: Path
) -> None:
    """The next attempt drops the rest of what nobody can connect to any more."""
    seed.create_role(target_cluster, seed.OWNER)
    seed.create_database(target_cluster, settings.database)

    def drop() -> None:
        with Session(settings.maintenance) as session:
            if of == "a restore":
                target_database.drop(session, settings.database)
            else:
                planned = dropping.plan(settings, tmp_path, server_identity(session), oid, [])
                dropping.drop(settings, tmp_path, planned, [])

    with Session(settings.maintenance) as session:
        oid = (find_database(session, settings.database) or {})["oid"]
    with stopped(target_cluster) as pid:
        with pytest.raises(MigrationError) as caught:
            drop()
        assert caught.value.code == "server_stuck"
        follow(caught.value.message, pid)
        drop()
    assert column(target_cluster, f"SELECT count(*) FROM pg_database WHERE oid = {oid}") == [0]
