# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on the source: nothing waits for ever, others wait no longer than for pg_dump itself, and messages name who holds what."""

from __future__ import annotations

import re
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import pg_dump, schema_dump
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence import digest, document, snapshot
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.leave_out import LeaveOut
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import document_buckets, document_job
from ansible_collections.cht.couch2pg.plugins.module_utils.host import programs
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import read_json
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import lock_notes
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.limits import Limits
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs.progress import Progress
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import lock_waits
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.database import end_sessions, other_sessions
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import schema_archive
from ansible_collections.cht.couch2pg.plugins.module_utils.promote import promotion
from support import binaries, places, seed
from support.background import wait_until
from support.clusters import Cluster
from support.migration import column, execute
from support.modules import login, run_module
from support.phases import Phases

TABLES = """
CREATE TABLE couchdb (doc jsonb);
INSERT INTO couchdb VALUES ('{"_id": "one", "_rev": "1-a"}');
CREATE TABLE couchdb_progress (seq varchar, source varchar);
CREATE TABLE small (id int);
INSERT INTO small SELECT generate_series(1, 100);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM small;
"""
BIG = """
CREATE TABLE {} AS SELECT i AS id, repeat(md5(i::text), 30) AS t FROM generate_series(1, 30000) AS i;
"""
ASKS_FOR_SMALL = "SELECT count(*) FROM pg_locks WHERE relation = 'small'::regclass AND NOT granted"
HOLD_SMALL = "SELECT count(*) FROM pg_locks WHERE relation = 'small'::regclass AND mode = 'AccessShareLock' AND granted"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="locks-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(16), settings={"max_prepared_transactions": "2"}) as made:
        seed.create_role(made, seed.OWNER)
        yield made


@pytest.fixture
def database(cluster: Cluster, database_name: str) -> Iterator[str]:
    seed.create_database(cluster, database_name)
    execute(cluster, TABLES, database_name)
    yield database_name
    seed.drop_database(cluster, database_name)


@pytest.fixture
def settings(cluster: Cluster, database: str) -> ConnectionSettings:
    return ConnectionSettings(database, cluster.host, cluster.port, password=cluster.password)


@contextmanager
def truncating(cluster: Cluster, database: str) -> Iterator[threading.Thread]:
    """Another session that asks for ``small`` at this moment."""
    thread = threading.Thread(target=execute, args=(cluster, "TRUNCATE small", database))
    thread.start()
    wait_until("TRUNCATE waits", lambda: column(cluster, ASKS_FOR_SMALL, database) == [1])
    yield thread
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_a_truncate_during_the_digests(cluster: Cluster, database: str, settings: ConnectionSettings) -> None:
    """Case truncate-during-dump: the digests don't queue behind it, and the progress names it."""
    with snapshot.HeldSnapshot(settings) as held, truncating(cluster, database):
        waits = lock_waits.LockWaits(settings)
        told = waits.tell()
        waits.close()
        assert "small is to be locked by session" in told
        assert "TRUNCATE" in told
        found = digest.digest_tables(held.tables.kept, "hash64", 2, held.reader, reading=held.reading)
        assert {row.table: row.rows for row in found}["public.small"] == 100
        held.session.close()
    assert column(cluster, "SELECT count(*) FROM small", database) == [0]


def test_a_reader_keeps_no_lock(cluster: Cluster, database: str, settings: ConnectionSettings) -> None:
    with snapshot.HeldSnapshot(settings) as held:
        digest.digest_tables(held.tables.kept, "hash64", 2, held.reader, reading=held.reading)
        # That of the snapshot's own session.
        assert column(cluster, HOLD_SMALL, database) == [1]


def test_a_plain_refresh_does_not_wait_for_the_dump(
    cluster: Cluster, database: str, settings: ConnectionSettings
) -> None:
    with snapshot.HeldSnapshot(settings) as held:
        evidence = document.collect(held.session, "test", held.identifier, held.tables)
        assert evidence["matviews"][0]["rows"] == 1
        execute(cluster, "SET lock_timeout = '2s'; REFRESH MATERIALIZED VIEW counted", database)


def test_a_view_that_is_being_refreshed_is_not_waited_for(
    cluster: Cluster, database: str, settings: ConnectionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MATVIEW_SECONDS", 1)
    with cluster.connect(database) as other, snapshot.HeldSnapshot(settings) as held:
        other.autocommit = False
        other.cursor().execute("REFRESH MATERIALIZED VIEW counted")
        evidence = document.collect(held.session, "test", held.identifier, held.tables)
        other.rollback()
    assert evidence["matviews"][0]["rows"] is None


@pytest.mark.parametrize(
    ("hold", "who", "ending"),
    [
        (
            "LOCK TABLE small",
            r"small is locked by session \d+ \(.*, last statement \w+\)\.",
            r"SELECT pg_terminate_backend\(\d+\);",
        ),
        (
            "LOCK TABLE small; PREPARE TRANSACTION 'forgotten'",
            r"small is locked by the prepared transaction 'forgotten' of 'postgres' in the database '\w+'\.",
            r"ROLLBACK PREPARED 'forgotten';",
        ),
    ],
)
def test_a_lock_that_cannot_be_had(
    cluster: Cluster, database: str, settings: ConnectionSettings, hold: str, who: str, ending: str
) -> None:
    """Preflight's and the snapshot's sessions say who holds it, and the statement that they print ends it."""
    other = cluster.connect(database)
    other.cursor().execute(f"BEGIN; {hold}")
    with pytest.raises(MigrationError) as caught, Session(settings, 1) as session:
        list_tables(session)
    assert caught.value.code == "locked"
    (found,) = re.findall(f"{who} Wait until that has ended, or end it: ({ending}) ", caught.value.message)
    execute(cluster, found, database)
    with Session(settings, 1) as session:
        assert list_tables(session).kept
    other.close()


def release_later(other: Any) -> threading.Timer:
    """After half a minute, so that the test ends where nothing has a limit."""
    timer = threading.Timer(30, other.cancel if other.info.transaction_status == 1 else other.close)
    timer.start()
    return timer


@pytest.mark.parametrize("hold", ["LOCK TABLE seen", "LOCK TABLE small"])
def test_pg_dump_of_the_schema_waits_for_a_lock(
    hold: str,
    cluster: Cluster,
    database: str,
    settings: ConnectionSettings,
    client_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A view isn't asked for before pg_dump reads it, and pg_dump waits without a limit."""
    monkeypatch.setattr(Session, "default_lock_seconds", 2)
    execute(cluster, "CREATE VIEW seen AS SELECT 1 AS n", database)
    with cluster.connect(database) as other:
        other.autocommit = False
        other.cursor().execute(hold)
        timer = release_later(other)
        with pytest.raises(MigrationError) as caught:
            schema_archive.dump(settings, str(client_dir), LeaveOut())
        timer.cancel()
        other.rollback()
    assert caught.value.code == "locked"
    assert f"{hold.rsplit(maxsplit=1)[-1]} is locked by session {other.info.backend_pid} (" in caught.value.message
    assert schema_archive.dump(settings, str(client_dir), LeaveOut())


def test_the_schema_for_a_stream_waits_for_a_lock(
    cluster: Cluster,
    database: str,
    settings: ConnectionSettings,
    client_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The snapshot has locked the table before, and another session waits for its end."""
    monkeypatch.setattr(pg_dump, "LOCK_SECONDS", 1)
    with snapshot.HeldSnapshot(settings) as held, truncating(cluster, database):
        program = programs.find("pg_dump", str(client_dir))
        command = pg_dump.build(
            program,
            "custom",
            tmp_path,
            held.identifier,
            1,
            "none",
            settings.conninfo(),
            held.encoding,
            ["public.small"],
        )
        with pytest.raises(MigrationError) as caught:
            schema_dump.dump_schema(command, settings, tmp_path, lambda _line: None)
        held.session.close()
    assert caught.value.code == "locked"
    assert "small is to be locked by session" in caught.value.message


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that say nothing about locks wait for one second."""
    monkeypatch.setattr(Session, "default_lock_seconds", 1)


ROLE = "guarded"
STATEMENTS = {
    "of a row": (f"ALTER ROLE {ROLE} LOGIN", f"ALTER ROLE {ROLE} NOLOGIN", "a row is locked by session"),
    "of a database": (
        "COMMENT ON DATABASE {name} IS 'x'",
        "COMMENT ON DATABASE {name} IS 'y'",
        "the database {name!r} is locked",
    ),
    "of a catalog": ("LOCK TABLE pg_proc", "SELECT count(*) FROM pg_proc", "pg_proc is locked by session"),
    "of the catalog of all": ("LOCK TABLE pg_class", "SELECT count(*) FROM pg_class", "pg_class is locked by session"),
    "by name": (
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_advisory_lock(1)",
        "an advisory lock is locked by session",
    ),
    "for a writer": ("SELECT * FROM small", "TRUNCATE public.small", "public.small is locked by session"),
}


@pytest.mark.parametrize("kind", STATEMENTS)
@pytest.mark.usefixtures("short")
def test_who_holds_any_lock(kind: str, cluster: Cluster, database: str, settings: ConnectionSettings) -> None:
    """Each session has a limit, if nothing else is said, and names the session that holds what it waits for."""
    hold, want, who = (text.format(name=database) for text in STATEMENTS[kind])
    execute(cluster, f"CREATE ROLE {ROLE}")
    try:
        with cluster.connect(database) as other, Session(settings) as session:
            other.autocommit = False
            other.cursor().execute(hold)
            with pytest.raises(MigrationError) as caught:
                session.execute(want)
            other.rollback()
            session.execute(want)
    finally:
        execute(cluster, f"DROP ROLE {ROLE}")
    assert caught.value.code == "locked"
    assert who in caught.value.message
    assert f"session {other.info.backend_pid} (" in caught.value.message


def test_a_role_that_another_session_changes(cluster: Cluster, settings: ConnectionSettings) -> None:
    execute(cluster, f"CREATE ROLE {ROLE}")
    said: list[str] = []

    def change() -> None:
        with Session(settings) as session:
            try:
                session.execute(f"ALTER ROLE {ROLE} NOLOGIN")
            except MigrationError as error:
                said.append(error.message)

    with cluster.connect("postgres") as other:
        other.autocommit = False
        other.cursor().execute(STATEMENTS["of a row"][0])
        waiting = threading.Thread(target=change)
        waiting.start()
        wait_until("it waits", lambda: column(cluster, "SELECT count(*) FROM pg_locks WHERE NOT granted") == [1])
        other.commit()
        waiting.join()
    execute(cluster, f"DROP ROLE {ROLE}")
    assert said[0].endswith(
        "tuple concurrently updated. Another session changed the same object at this moment: run again."
    )


@pytest.mark.parametrize("hold", ["ALTER DATABASE {name} RENAME TO {name}_2", "LOCK TABLE pg_class"])
def test_a_database_that_nobody_can_connect_to(
    hold: str, cluster: Cluster, database: str, settings: ConnectionSettings
) -> None:
    """The server doesn't answer, which is not because of its address."""
    with cluster.connect("postgres" if "RENAME" in hold else database) as other:
        other.autocommit = False
        other.cursor().execute(hold.format(name=database))
        with pytest.raises(MigrationError) as caught:
            Session(replace(settings, connect_params={"connect_timeout": "2"}))
        other.rollback()
    assert caught.value.code == "locked"
    assert f"session {other.info.backend_pid} (" in caught.value.message
    Session(settings).close()


@pytest.mark.usefixtures("short")
def test_the_documents_of_a_locked_table(cluster: Cluster, database: str, settings: ConnectionSettings) -> None:
    options = {"side": "source", "buckets": 4096, "only": {}, "jobs": 1, "most_documents": 9}
    with cluster.connect(database) as other:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE couchdb")
        with pytest.raises(MigrationError, match="couchdb is locked by session"):
            document_job.job_spec(settings, options, Limits())
        other.rollback()
    document_job.job_spec(settings, options, Limits())


def test_a_truncate_during_the_digests_of_documents(
    cluster: Cluster, database: str, settings: ConnectionSettings
) -> None:
    with snapshot.HeldSnapshot(settings) as held:
        tables = [table for table in held.tables.kept if table.name == "couchdb"]
        thread = threading.Thread(target=execute, args=(cluster, "TRUNCATE couchdb", database))
        thread.start()
        asks = ASKS_FOR_SMALL.replace("small", "couchdb")
        wait_until("TRUNCATE waits", lambda: column(cluster, asks, database) == [1])
        found = document_buckets.take(tables, 4096, 2, held.reader, reading=held.reading)
        listed = document_buckets.list_documents(
            tables, {"couchdb": [*range(4096)]}, 4096, 9, 2, held.reader, reading=held.reading
        )
        held.session.close()
        thread.join()
    assert found.documents == {"couchdb": 1}
    assert [row[1] for row in listed] == ["one"]


def test_a_job_shows_what_it_waits_for(cluster: Cluster, database: str, tmp_path: Path) -> None:
    """In whatever database of the server, for as long as it takes."""
    options = {**login(cluster, database), "migration_id": "m", "state_dir": str(tmp_path), "call_function": False}
    result: dict[str, Any] = {}
    job = threading.Thread(target=lambda: result.update(run_module("matview_refresh", options)))
    with cluster.connect(database) as other:
        other.autocommit = False
        other.cursor().execute("SELECT * FROM counted")
        job.start()
        progress = tmp_path / "m" / "jobs" / "refresh" / "progress.json"
        words = f"to lock public.counted; public.counted is locked by session {other.info.backend_pid} ("
        wait_until("it is shown", lambda: progress.exists() and words in shown(progress))
        other.rollback()
    job.join()
    assert not result.get("failed"), result


def test_what_keeps_a_database_from_being_renamed(
    cluster: Cluster, database: str, settings: ConnectionSettings
) -> None:
    """A forgotten prepared transaction, too; the statements that are printed end it."""
    execute(cluster, "BEGIN; DELETE FROM small; PREPARE TRANSACTION 'it''s forgotten'", database)
    idle = cluster.connect(database, application_name="a dashboard")
    with Session(settings.maintenance) as session:
        for who in (
            "postgres (a dashboard, 127.0.0.1), postgres (prepared transaction",
            "postgres (prepared transaction",
        ):
            session.execute("BEGIN")
            with pytest.raises(MigrationError) as caught:
                promotion.rename(session, database, f"{database}_2")
            assert f"while it is used: {who} 'it''s forgotten', local)" in caught.value.message
            inside = caught.value.message.split(f"In the database {database!r}: ")[1].split(";")[0]
            if "SELECT" in caught.value.message:
                statement = caught.value.message.split("as a superuser: ")[1].split(";")[0]
                assert column(cluster, statement) == [True]
        execute(cluster, inside, database)
        promotion.check_nobody_connected(session, [database])
        promotion.rename(session, database, f"{database}_2")
        promotion.rename(session, f"{database}_2", database)
    idle.close()


SLOWLY_VACUUMED = """
CREATE TABLE slow (n int) WITH (
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_insert_threshold = 1);
INSERT INTO slow SELECT generate_series(1, 50000);
"""
VACUUMED = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = '{name}'"


def test_what_an_ordinary_role_can_not_end(cluster: Cluster, database: str, settings: ConnectionSettings) -> None:
    """A worker of autovacuum keeps nobody from dropping the database; who may end a superuser's session is told."""
    password = seed.create_role(cluster, ROLE)
    execute(cluster, f"ALTER DATABASE {database} OWNER TO {ROLE}; ALTER ROLE {ROLE} CREATEDB")
    cluster.connect("postgres").cursor().execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    execute(cluster, "SELECT pg_reload_conf()")
    execute(cluster, SLOWLY_VACUUMED, database)
    try:
        wait_until("it is vacuumed", lambda: column(cluster, VACUUMED.format(name=database)) != [0])
        guest = replace(settings, user=ROLE, password=password).maintenance
        with Session(guest) as session:
            assert other_sessions(session, database, patience=0) == []
            with cluster.connect(database):
                with pytest.raises(MigrationError) as caught:
                    end_sessions(session, database)
                assert f"in {database!r} don't end, or {ROLE!r} may not end them: postgres (" in caught.value.message
                execute(cluster, caught.value.message.split("as a superuser: ")[1].split(";")[0])
            # That has ended the worker, too.
            wait_until("it is vacuumed again", lambda: column(cluster, VACUUMED.format(name=database)) != [0])
            end_sessions(session, database)
            session.execute(f"DROP DATABASE {database}")
    finally:
        cluster.connect("postgres").cursor().execute("ALTER SYSTEM RESET autovacuum_naptime")
        execute(cluster, "SELECT pg_reload_conf()")
        seed.drop_database(cluster, database)
        execute(cluster, f"DROP ROLE {ROLE}")


def test_a_truncate_during_a_parallel_dump(cluster: Cluster, database: str, client_dir: Path, tmp_path: Path) -> None:
    """Either all workers had read the table before, or the dump stops at once and names the session."""
    for name in ("big", "bigger"):
        execute(cluster, BIG.format(name), database)
    phases = Phases(cluster, cluster, database, client_dir, tmp_path)
    result: dict[str, Any] = {}
    dump = threading.Thread(target=lambda: result.update(phases.dump(jobs=4)))
    dump.start()
    # The snapshot and pg_dump's first session.
    wait_until("pg_dump has its locks", lambda: column(cluster, HOLD_SMALL, database)[0] >= 2 or not dump.is_alive())
    execute(cluster, "TRUNCATE small", database)
    dump.join()
    if result.get("failed"):
        assert result["code"] == "locked", result
        assert "small is to be locked by session" in result["msg"]
        assert "TRUNCATE" in result["msg"]
    else:
        assert {row["table"]: row["rows"] for row in result["tables"]}["public.small"] == 100


def hold_briefly(settings: ConnectionSettings) -> None:
    with snapshot.HeldSnapshot(settings):
        pass


def shown(path: Path) -> str:
    return str(read_json(path)["notes"])


def test_the_progress_shows_a_wait(
    cluster: Cluster, database: str, settings: ConnectionSettings, tmp_path: Path
) -> None:
    path = tmp_path / "progress.json"
    with Progress(path) as progress, lock_notes.shown(progress, settings):
        other = cluster.connect(database)
        other.cursor().execute("BEGIN; LOCK TABLE small")
        waiting = threading.Thread(target=hold_briefly, args=[settings])
        waiting.start()
        wait_until("it is shown", lambda: "to read public.small; public.small is locked by session" in shown(path))
        other.close()
        waiting.join()
