# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A couch2pg on the target as its handover finds it: a database that another couch2pg has filled, its settings, and its watch."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg import settings as couch2pg_settings
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.log.source import open_source
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes

from . import couch2pg, node, seed
from .clusters import Cluster
from .couch2pg import Couch2pg
from .couchdb import CouchDB
from .migration import column, execute
from .modules import run_module

PASSWORD = "p@ss / of:it %"
DOCUMENTS = 40
_numbers = itertools.count(1)


@contextmanager
def filled_couchdb(folder: Path) -> Iterator[CouchDB]:
    """A CouchDB with documents in all databases of a CHT but _users."""
    with CouchDB(folder, password="c0uch@:/ %") as server:
        server.put("medic", [{"_id": f"report-{n}", "type": "data_record", "n": n} for n in range(DOCUMENTS)])
        server.put("medic-sentinel", [{"_id": f"report-{n}-info", "type": "info"} for n in range(5)])
        server.put("medic-users-meta", [{"_id": "telemetry-1", "type": "telemetry"}])
        server.put("medic-logs", [{"_id": "log-1"}])
        yield server


@contextmanager
def filled_database(cluster: Cluster, couchdb: CouchDB, folder: Path) -> Iterator[str]:
    """A database that couch2pg has made and filled: what stands on the target when couch2pg is to be started there."""
    name = f"synced_{time.monotonic_ns()}"
    seed.create_role(cluster, seed.OWNER, PASSWORD)
    seed.create_database(cluster, name)
    Couch2pg(folder, couch2pg.settings(couchdb, cluster, name, PASSWORD)).run_once()
    yield name
    seed.drop_database(cluster, name)


@contextmanager
def copied(cluster: Cluster, couchdb: CouchDB, synced: str, name: str, folder: Path) -> Iterator[Target]:
    """A copy of a database that couch2pg has filled, with its couch2pg, which is stopped at the end."""
    execute(cluster, f"CREATE DATABASE {name} TEMPLATE {synced} OWNER {seed.OWNER}")
    made = Target(cluster, name, couchdb, folder)
    made.synced = synced
    yield made
    if made.couch2pg:
        made.couch2pg.stop()
    processes.kill_all([pid for job in made.state.glob("*/jobs/*") for pid in processes.of_job(job)])
    seed.drop_database(cluster, name)


class Target:
    """A copy of the synced database, the settings of a couch2pg for it, and that couch2pg."""

    def __init__(self, cluster: Cluster, database: str, couchdb: CouchDB, folder: Path) -> None:
        self.cluster, self.database, self.folder = cluster, database, folder
        self.couchdb = couchdb
        self.synced = ""
        self.variables = couch2pg.settings(couchdb, cluster, database, PASSWORD)
        self.variables["COUCH2PG_SLEEP_MINS"] = "0.05"
        self.settings_file = folder / "settings.json"
        self.state = folder / "state"
        self.log = {"kind": "file", "path": str(folder / "couch2pg.log")}
        self.couch2pg: Couch2pg | None = None

    def make(self, installed: node.Node | None = None, **variables: str) -> Couch2pg:
        """couch2pg, not yet started."""
        self.variables.update(variables)
        by_entrypoint = "POSTGRES_SERVER_NAME" in self.variables
        style = couch2pg_settings.ENTRYPOINT if by_entrypoint else couch2pg_settings.URL
        couch2pg_settings.Settings(self.variables, style).save(self.settings_file)
        self.couch2pg = Couch2pg(self.folder, self.variables, installed)
        self.couch2pg.by_entrypoint = by_entrypoint
        return self.couch2pg

    def position(self) -> Any:
        """Where the log ends now."""
        return open_source(self.log).position()

    def change(self) -> None:
        """One more document in CouchDB."""
        self.couchdb.put("medic", [{"_id": f"new-{next(_numbers)}", "type": "data_record"}])

    def wait_for(self, text: str, times: int = 1) -> None:
        """Until couch2pg has said it so often."""
        assert self.couch2pg is not None
        self.couch2pg.wait_for(text, times)

    def health(self, **options: Any) -> dict[str, Any]:
        """The module's result."""
        running = self.couch2pg and self.couch2pg.process
        known = {
            "settings_file": str(self.settings_file),
            "log": self.log,
            "process": {"pid": running.pid} if running else None,
            "timeout": 40,
            "migration_id": "test",
            "state_dir": str(self.state),
        }
        result = run_module("couch2pg_health", {**known, **options})
        shown = json.dumps(result)
        for secret in (PASSWORD, self.couchdb.password):
            assert secret not in shown
        for path in self.state.rglob("*"):
            if path.is_file() and path.suffix != ".py":
                assert PASSWORD.encode() not in path.read_bytes(), path
        return result

    def shell(self, command: str, entered: str = "") -> str:
        """The output of a command of a message, as an operator runs it who may log in to the server. entered: what it asks for."""
        variables = {
            **self.cluster.binaries.environment(),
            "PGHOST": self.cluster.host,
            "PGPORT": str(self.cluster.port),
            "PGUSER": "postgres",
            "PGPASSWORD": self.cluster.password,
        }
        variables["PATH"] = f"{self.cluster.binaries.bin_dir}:{os.environ['PATH']}"
        # Without a terminal, what is asked for is read from the input.
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=variables,
            input=entered,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def execute(self, sql: str) -> None:
        execute(self.cluster, sql, self.database)

    def stored(self, database: str) -> int:
        """The number of couch2pg's stored seq."""
        sql = f"SELECT split_part(seq, '-', 1)::int FROM couchdb_progress WHERE source LIKE '%/{database}'"
        return int(column(self.cluster, sql, self.database)[0])
