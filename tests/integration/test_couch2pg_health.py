# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real couch2pg is proven to be healthy, or not to be: with a real CouchDB, a real PostgreSQL, and everything that goes wrong."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from support import handed_over, node, seed
from support.background import wait_until
from support.clusters import Cluster
from support.couch2pg import COMPLETED, Couch2pg
from support.couchdb import CouchDB
from support.couchdb_proxy import Proxy
from support.handed_over import Target
from support.migration import column
from support.modules import run_module


@pytest.fixture(scope="module")
def couchdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CouchDB]:
    with handed_over.filled_couchdb(tmp_path_factory.mktemp("couchdb")) as server:
        yield server


@pytest.fixture(scope="module")
def synced(target_cluster: Cluster, couchdb: CouchDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with handed_over.filled_database(target_cluster, couchdb, tmp_path_factory.mktemp("first")) as name:
        yield name


@pytest.fixture
def target(
    target_cluster: Cluster, couchdb: CouchDB, synced: str, database_name: str, tmp_path: Path
) -> Iterator[Target]:
    with handed_over.copied(target_cluster, couchdb, synced, database_name, tmp_path) as made:
        yield made


def test_a_good_handover_goes_on_from_its_place(target: Target) -> None:
    """A handful of changes, not all; the proof lasts as long as nothing has changed."""
    for _number in range(3):
        target.change()
    couch2pg = target.make()
    with couch2pg:
        done = target.health(matviews=["contactview_metadata", "public.form_metadata"], runs=2)
        assert not done.get("failed"), done
        assert (done["changed"], done["changes"], done["errors"], done["notices"]) == (True, 3, [], [])
        assert done["runs_completed"] >= 2
        assert {entry["database"]: entry["current"] for entry in done["sync"]} == dict.fromkeys(
            ("medic", "medic-sentinel", "medic-users-meta", "medic-logs", "_users"), True
        )
        assert done["sync"][0]["mark"] == target.couchdb.update_seq()
        assert {entry["matview"] for entry in done["matviews"]} >= {"public.contactview_metadata"}
        assert done["refresh"]["role"] == seed.OWNER
        again = target.health()
        assert (again["changed"], again["checked_at"]) == (False, done["checked_at"])
        # The broken state is noticed, and its remedy heals it.
        # Its name comes before that of the view that it reads.
        target.execute(
            'CREATE SCHEMA "A.b"; CREATE MATERIALIZED VIEW "A.b".above AS SELECT * FROM contactview_metadata WITH NO DATA;'
            "REFRESH MATERIALIZED VIEW contactview_metadata WITH NO DATA"
        )
        broken = target.health()
        assert broken["code"] == "matviews_unpopulated"
        assert "public.contactview_metadata" in broken["msg"]
        for statement in re.findall(r"REFRESH MATERIALIZED VIEW [^;]+;", broken["msg"]):
            target.execute(statement)
        target.execute('DROP SCHEMA "A.b" CASCADE')
        assert target.health()["changed"]
        pid = couch2pg.process.pid if couch2pg.process else 0
    # It ended without a word, and the runs that its log tells of are not all that CouchDB has.
    silent = target.health(process={"pid": pid})
    assert (silent["code"], silent["details"]["errors"]) == ("couch2pg_ended", [])
    assert "Node.js 14" in silent["msg"]
    mark = target.stored("medic")
    target.change()
    stale = target.health(process=None, timeout=0.1)
    assert stale["code"] == "couch2pg_not_current"
    assert f"medic {mark} of {mark + 1}" in stale["msg"]
    with couch2pg:
        # Another process is another couch2pg.
        assert target.health(since=target.position())["changed"]


def ended(result: dict[str, Any], *kinds: str) -> str:
    """The sentence of a couch2pg that was proven not to be healthy, by these errors."""
    assert result["code"] in ("couch2pg_ended", "couch2pg_restarted"), result
    assert [seen["kind"] for seen in result["details"]["errors"]] == list(kinds)
    return str(result["msg"])


def meets(target: Target, **variables: str) -> dict[str, Any]:
    """What is said of a couch2pg that is started with other variables, and ends."""
    good, since = dict(target.variables), target.position()
    with target.make(**variables) as couch2pg:
        result = target.health(since=since)
        assert couch2pg.wait_for_end(20) == 1
    target.variables = good
    return result


def test_it_ends_for_a_reason_that_is_named(target: Target) -> None:
    """Each with a real couch2pg that meets it, one after the other."""
    wrong = target.couchdb.url().replace("medic:", "medic:wrong", 1)
    assert "COUCHDB_URL" in ended(meets(target, COUCHDB_URL=wrong), "couchdb_unauthorized")
    wrong = target.variables["POSTGRESQL_URL"].replace("couch2pg:", "couch2pg:wrong", 1)
    assert "ALTER ROLE" in ended(meets(target, POSTGRESQL_URL=wrong), "bad_password")
    target.execute("UPDATE users_meta_migrations SET md5 = 'other' || md5")
    assert "same version of couch2pg" in ended(meets(target), "migration_checksum")
    target.execute("UPDATE users_meta_migrations SET md5 = replace(md5, 'other', '')")
    target.execute(
        f"ALTER DATABASE {target.database} OWNER TO postgres; ALTER TABLE xmlforms_migrations RENAME TO kept"
    )
    assert "GRANT USAGE, CREATE ON SCHEMA public" in ended(meets(target), "no_create_on_public")


class Supervisor:
    """Starts couch2pg again whenever it ends."""

    def __init__(self, couch2pg: Couch2pg) -> None:
        self._couch2pg = couch2pg
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Supervisor:
        self._couch2pg.start()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._couch2pg.stop()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            process = self._couch2pg.process
            if process is not None and process.poll() is not None:
                self._couch2pg.start()


def test_a_clean_log_proves_nothing(target: Target) -> None:
    """A refresh fails, couch2pg dies, is started again, sees 0 changes and completes its run with the view still broken."""
    target.execute("REFRESH MATERIALIZED VIEW contactview_metadata WITH NO DATA")
    target.change()
    couch2pg = target.make()
    with Supervisor(couch2pg):
        said = ended(target.health(), "matview_unpopulated")
        assert "contactview_metadata" in said
        couch2pg.wait_for(COMPLETED)
        since = target.position()
        fooled = target.health(since=since)
        assert fooled["code"] == "matviews_unpopulated"
        assert "public.contactview_metadata" in fooled["msg"]
        couch2pg.wait_for(COMPLETED, 2)
        summary = run_module("couch2pg_log_info", {"log": target.log, "since": since})["summary"]
        assert (summary["errors"], summary["starts"], summary["exits"]) == ([], 0, 0)


@pytest.mark.long
def test_a_restart_loop_and_a_view_that_is_missing(target: Target) -> None:
    target.execute("UPDATE xmlforms_migrations SET md5 = 'other' || md5")
    with Supervisor(target.make()):
        ended(target.health(), "migration_checksum")
        # Of the whole log, without knowing the process.
        target.wait_for("exiting", 2)
        assert target.health(process=None)["code"] == "couch2pg_restarted"
    target.execute("UPDATE xmlforms_migrations SET md5 = replace(md5, 'other', '')")
    target.execute("DROP MATERIALIZED VIEW useview_feedback")
    since = target.position()
    with target.make():
        missing = target.health(since=since, matviews=["public.useview_feedback"])
        assert (missing["code"], missing["details"]["matviews"]) == ("matviews_missing", ["public.useview_feedback"])
        # What its commands make is the view; the next message fills it.
        commands = re.search(r"there, (pg_dump .*? >views.sql); here, (psql .*?)\. Then run", missing["msg"])
        assert commands, missing["msg"]
        target.shell(commands[1].replace(target.database, target.synced))
        target.shell(commands[2])
        filled = target.health(since=since, matviews=["public.useview_feedback"])
        assert filled.get("code") == "matviews_unpopulated", filled
        for statement in re.findall(r"REFRESH MATERIALIZED VIEW [^;]+;", filled["msg"]):
            target.execute(statement)
        assert column(target.cluster, "SELECT bool_and(ispopulated) FROM pg_matviews", target.database) == [True]
        # Not asked for it, the proof is the refresh; and where that can't be, it is said.
        target.execute("DROP INDEX form_metadata_uuid")
        refused = target.health(since=since)
        assert (refused["code"], refused["details"]["kind"]) == ("couch2pg_refresh_failed", "matview_no_unique_index")
        assert "form_metadata" in refused["msg"]
        target.execute("CREATE UNIQUE INDEX form_metadata_uuid ON form_metadata (uuid)")
        target.execute("ALTER FUNCTION refresh_matviews() RENAME TO other")
        (notice,) = target.health(since=since)["notices"]
        assert "no function refresh_matviews()" in notice


@pytest.mark.long
def test_commands_of_the_operator_show_its_end_and_its_restarts(target: Target, tmp_path: Path) -> None:
    """The kind env_file shows no process: its status_command is asked while couch2pg is watched."""
    since = target.position()
    # Its supervisor always says that it runs; Node.js 20 ends a stock couch2pg without a word.
    with Supervisor(target.make(node.Node(node.new().program, node.stock().packages))):
        silent = target.health(since=since, process={"pid": None}, status_command=["true"])
    assert silent["code"] == "couch2pg_restarted", silent
    assert "Node.js 14" in silent["msg"]
    pid_file = tmp_path / "pid"
    couch2pg = target.make(COUCH2PG_SLEEP_MINS="0.5")
    for command, code in (("kill -0 $(cat {})", "couch2pg_ended"), ("cat {}", "couch2pg_ended")):
        since = target.position()
        with couch2pg:
            assert couch2pg.process is not None
            pid_file.write_text(str(couch2pg.process.pid), encoding="utf-8")
            status = ["sh", "-c", command.format(pid_file)]
            options = {"since": since, "process": {"pid": None}, "status_command": status, "runs": 2}
            assert target.health(**options, job_wait=1)["job"]["status"] == "running"
        # Killed, and in the second round started again as another process.
        pid_file.write_text(str(couch2pg.process.pid + 1 if couch2pg.process else 4194304), encoding="utf-8")
        began = time.monotonic()
        gone = target.health(**options)
        assert gone["code"] == code, gone
        assert time.monotonic() - began < 15


@pytest.mark.long
def test_what_couch2pg_waits_for_is_waited_for(target: Target) -> None:
    """CouchDB is away and comes back; one that stays away is given up."""
    progress = target.state / "test" / "jobs" / "health" / "progress.json"
    target.couchdb.stop()
    try:
        # It never gives up by itself, however slow this machine is.
        with target.make(COUCH2PG_RETRY_COUNT="0"):
            gone = target.health(timeout=1)
            assert gone["code"] == "couch2pg_not_current"
            assert "127.0.0.1" in gone["msg"]
            running = target.health(job_wait=0)
            assert running["job"]["status"] == "running"
            wait_until("its error is shown", lambda: progress.exists() and "couchdb_away" in progress.read_text())
            summary = run_module("couch2pg_log_info", {"log": target.log})["summary"]
            assert "curl --head COUCHDB shows why" in summary["errors"][0]["remedy"]
            ask = f"curl --head http://127.0.0.1:{target.couchdb.port}"
            with pytest.raises(AssertionError):
                target.shell(ask)
            target.couchdb.start()
            target.shell(ask)
            done = target.health()
            assert not done.get("failed"), done
            assert [seen["kind"] for seen in done["errors"]] == ["couchdb_away"]
            assert done["runs_errored"] >= 1
    finally:
        target.couchdb.stop()
        target.couchdb.start()


def test_the_changes_as_couch2pg_0_8_asks_for_them(target: Target, tmp_path: Path) -> None:
    """One request for a batch, in which most changes have no sequence: its checkpoints are as good."""
    with Proxy(target.couchdb, tmp_path, tls=False) as proxy:
        target.execute(
            f"UPDATE couchdb_progress SET source = replace(source, '{target.couchdb.port}/', '{proxy.port}/')"
        )
        for _number in range(30):
            target.change()
        newer = {"COUCHDB_URL": proxy.url(), "TEST_CHANGES_OF": "0.8", "COUCH2PG_CHANGES_LIMIT": "20"}
        with target.make(**newer):
            done = target.health()
            assert not done.get("failed"), done
            # Tests before this one may have left some, too.
            assert done["changes"] >= 30
            assert done["sync"][0]["current"]
            assert target.stored("medic") == target.couchdb.update_seq()
        assert any("seq_interval=20" in request for request in proxy.requests)
        # It goes on from there.
        since = target.position()
        target.change()
        with target.make(**newer):
            assert target.health(since=since)["changes"] == 1


def test_a_busy_couchdb_over_tls_with_opaque_sequences(target: Target, tmp_path: Path) -> None:
    """Current is past the mark: a writer that never stops is never caught up with."""
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.3):
            target.change()

    with Proxy(target.couchdb, tmp_path) as proxy:
        target.execute(
            f"UPDATE couchdb_progress SET source = replace(source, '{target.couchdb.port}/', '{proxy.port}/')"
        )
        trusted = {"COUCHDB_URL": proxy.url(), "NODE_EXTRA_CA_CERTS": str(proxy.certificate)}
        with target.make(**{**trusted, "NODE_EXTRA_CA_CERTS": ""}):
            assert target.health()["code"] == "couchdb_certificate"
            vain = target.health(ca_cert=str(proxy.certificate))
            assert (vain["code"], vain["details"]["errors"][0]["kind"]) == ("couch2pg_error", "couchdb_certificate")
            assert "set NODE_EXTRA_CA_CERTS=FILE in couch2pg's settings" in vain["msg"]
        since, stored = target.position(), target.stored("medic")
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            with target.make(**trusted):
                done = target.health(since=since)
                assert not done.get("failed"), done
                medic = done["sync"][0]
                assert target.couchdb.update_seq() > medic["mark"]
                assert medic["stored"] >= medic["mark"]
                assert 0 < done["changes"] <= target.couchdb.update_seq() - stored
        finally:
            stop.set()
            writer.join()
