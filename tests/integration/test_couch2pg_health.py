# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real couch2pg is proven to be healthy, or not to be: with a real CouchDB, a real PostgreSQL, and everything that goes wrong."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils import couch2pg_settings, processes
from support import couch2pg, node, seed
from support.clusters import Cluster
from support.couch2pg import Couch2pg
from support.couchdb import CouchDB
from support.migration import column, execute
from support.modules import run_module

PASSWORD = "p@ss / of:it %"
DOCUMENTS = 40
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def couchdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CouchDB]:
    with CouchDB(tmp_path_factory.mktemp("couchdb"), password="c0uch@:/ %") as server:
        server.put("medic", [{"_id": f"report-{n}", "type": "data_record", "n": n} for n in range(DOCUMENTS)])
        server.put("medic-sentinel", [{"_id": f"report-{n}-info", "type": "info"} for n in range(5)])
        server.put("medic-users-meta", [{"_id": "telemetry-1", "type": "telemetry"}])
        server.put("medic-logs", [{"_id": "log-1"}])
        yield server


@pytest.fixture(scope="module")
def synced(target_cluster: Cluster, couchdb: CouchDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database that couch2pg has made and filled: what stands on the target when couch2pg is to be started there."""
    name = f"synced_{time.monotonic_ns()}"
    seed.create_role(target_cluster, seed.OWNER, PASSWORD)
    seed.create_database(target_cluster, name)
    Couch2pg(tmp_path_factory.mktemp("first"), couch2pg.settings(couchdb, target_cluster, name, PASSWORD)).run_once()
    yield name
    seed.drop_database(target_cluster, name)


class Target:
    """A copy of the synced database, the settings of a couch2pg for it, and that couch2pg."""

    def __init__(self, cluster: Cluster, database: str, couchdb: CouchDB, folder: Path) -> None:
        self.cluster, self.database, self.folder = cluster, database, folder
        self.couchdb = couchdb
        self.variables = couch2pg.settings(couchdb, cluster, database, PASSWORD)
        self.settings_file = folder / "settings.json"
        self.state = folder / "state"
        self.couch2pg: Couch2pg | None = None

    def make(self, installed: node.Node | None = None, **variables: str) -> Couch2pg:
        """couch2pg, not yet started."""
        self.variables.update(variables)
        couch2pg_settings.Settings(self.variables).save(self.settings_file)
        self.couch2pg = Couch2pg(self.folder, self.variables, installed)
        return self.couch2pg

    def position(self) -> Any:
        log = {"kind": "file", "path": str(self.folder / "couch2pg.log")}
        return run_module("couch2pg_log_info", {"log": log, "position_only": True})["position"]

    def health(self, **options: Any) -> dict[str, Any]:
        """The module's result."""
        running = self.couch2pg and self.couch2pg.process
        known = {
            "settings_file": str(self.settings_file),
            "log": {"kind": "file", "path": str(self.folder / "couch2pg.log")},
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

    def execute(self, sql: str, user: str = "postgres") -> None:
        execute(self.cluster, sql, self.database, user)

    def count(self, sql: str) -> Any:
        return column(self.cluster, sql, self.database)[0]


@pytest.fixture
def target(
    target_cluster: Cluster, couchdb: CouchDB, synced: str, database_name: str, tmp_path: Path
) -> Iterator[Target]:
    execute(target_cluster, f"CREATE DATABASE {database_name} TEMPLATE {synced} OWNER {seed.OWNER}")
    made = Target(target_cluster, database_name, couchdb, tmp_path)
    yield made
    if made.couch2pg:
        made.couch2pg.stop()
    processes.kill_all([pid for folder in made.state.glob("*/jobs/*") for pid in processes.of_job(folder)])
    seed.drop_database(target_cluster, database_name)


def test_a_good_handover_goes_on_from_its_place(target: Target) -> None:
    """A handful of changes, not all; the proof lasts as long as nothing has changed."""
    target.couchdb.put("medic", [{"_id": f"new-{next(_numbers)}", "type": "data_record"} for _ in range(3)])
    couch2pg = target.make()
    with couch2pg:
        done = target.health(matviews=["contactview_metadata", "public.form_metadata"])
        assert not done.get("failed"), done
        assert (done["changed"], done["changes"], done["errors"], done["notices"]) == (True, 3, [], [])
        assert done["runs_completed"] >= 1
        assert {entry["database"]: entry["current"] for entry in done["sync"]} == dict.fromkeys(
            ("medic", "medic-sentinel", "medic-users-meta", "medic-logs", "_users"), True
        )
        assert done["sync"][0]["mark"] == target.couchdb.update_seq()
        assert {entry["matview"] for entry in done["matviews"]} >= {"public.contactview_metadata"}
        assert done["refresh"]["role"] == seed.OWNER
        again = target.health()
        assert (again["changed"], again["checked_at"]) == (False, done["checked_at"])
        # The broken state is noticed, and its remedy heals it.
        target.execute("REFRESH MATERIALIZED VIEW contactview_metadata WITH NO DATA")
        broken = target.health()
        assert broken["code"] == "matviews_unpopulated"
        assert "public.contactview_metadata" in broken["msg"]
        target.execute("REFRESH MATERIALIZED VIEW contactview_metadata")
        assert target.health()["changed"]
    with couch2pg:
        # Another process is another couch2pg.
        assert target.health(since=target.position())["changed"]
