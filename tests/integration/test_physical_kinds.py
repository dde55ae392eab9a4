# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method physical copies a database with objects of every kind."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import psycopg2
import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import private_server
from support import binaries, independent, places, seed
from support.clusters import Cluster
from support.migration import execute
from support.modules import login, run_module
from support.odd_database import FILES, fill
from support.preflight import finding, look

NAME = "odd things"
# One version for all: a newer pg_dump writes what this server can't read.
PROGRAMS = binaries.binaries(16)
# pg_upgrade refuses columns of types such as regprocedure, and so does preflight.
NOT_UPGRADED = ("33", "52")


@dataclass(frozen=True)
class OnCopy:
    """The server on the copy, as ``independent`` asks for a server."""

    socket: str
    port: int

    def dsn(self, database: str) -> str:
        """The connection string, for programs and for psycopg2."""
        return f"host='{self.socket}' port={self.port} user=postgres dbname='{database}'"

    def connect(self, database: str) -> Any:
        connection = psycopg2.connect(self.dsn(database))
        connection.autocommit = True
        return connection


@pytest.fixture(params=[16, 18])
def major(request: pytest.FixtureRequest) -> int:
    """The target's version: that of the source, or one that pg_upgrade makes of it."""
    return int(request.param)


@pytest.fixture
def source(major: int) -> Iterator[Cluster]:
    files = [path for path in FILES if major == PROGRAMS.major or not path.name.startswith(NOT_UPGRADED)]
    folder = Path(tempfile.mkdtemp(prefix="source-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, PROGRAMS) as cluster:
        for role in (seed.OWNER, seed.READER):
            seed.create_role(cluster, role)
        fill(cluster, NAME, [seed.SQL / "cases" / "printed-expressions.sql", *files])
        options = {**login(cluster, NAME), "side": "source", "method": "physical", "migration_id": "test"}
        folders = {name: str(folder / name) for name in ("state_dir", "staging_dir")}
        refused = finding(look({**options, **folders}, cluster, NAME), "files of the server")["message"]
        statements = refused.split(f"in '{NAME}': ")[1].split(" Then run")[0]
        # Members of extensions that are not as CREATE EXTENSION makes them; pg_dump doesn't carry that, a copy does.
        statements += "ALTER FUNCTION plpgsql_call_handler() COST 77; GRANT CREATE ON SCHEMA public TO PUBLIC;"
        # An event trigger of the database forbids every statement.
        execute(cluster, f"SET session_replication_role = replica; {statements}", NAME)
        yield cluster


@pytest.mark.long
def test_a_database_of_every_kind(source: Cluster, tmp_path: Path, major: int) -> None:
    clients = PROGRAMS if major == PROGRAMS.major else binaries.clients()
    folder = Path(tempfile.mkdtemp(prefix="target-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(major)) as target:
        place = {"migration_id": "test", "state_dir": str(tmp_path / "state")}
        programs = {"archive": str(tmp_path / "staging" / "test"), "bin_dir": str(clients.bin_dir)}
        there = {"source": login(source, NAME), "server_bin_dir": str(PROGRAMS.bin_dir)}
        try:
            done = run_module(
                "pg_physical", {**login(target, "postgres"), "database": NAME, **place, **programs, **there}
            )
            assert not done.get("failed"), done
            copy = {"database": NAME, **done["login"], **place}
            for module, more in (("matview_refresh", {}), ("verify", programs)):
                result = run_module(module, {**copy, **more})
                assert not result.get("failed"), result
            server = OnCopy(done["login"]["login_unix_socket"], done["login"].get("login_port", 50432))
            found = independent.rows(server, NAME, "r")
            assert found == independent.rows(source, NAME, "r")
            assert len(found) >= 150
            if major == PROGRAMS.major:
                assert independent.schema(server, NAME, clients) == independent.schema(source, NAME, clients)
            # The right that couch2pg needs, which the restore gives as the source has it.
            revoke = "SET session_replication_role = replica; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
            server.connect(NAME).cursor().execute(revoke)
            refused = run_module("verify", {**copy, **programs})
            assert refused.get("failed"), refused
            assert [found["object"] for found in refused["details"]["differences"]] == ["SCHEMA public"], refused
        finally:
            for path in target.directory.glob("data_incoming_*"):
                for place_of_server in (path, path / "old"):
                    private_server.end_on(place_of_server)
                shutil.rmtree(path)
