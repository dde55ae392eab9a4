# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method stream: the same evidence as with an archive, and no lost or doubled row whatever is interrupted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence import digest
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.snapshot import HeldSnapshot, open_reader
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job, limits
from ansible_collections.cht.couch2pg.plugins.module_utils.pipeline import marks
from ansible_collections.cht.couch2pg.plugins.module_utils.pipeline.chunks import Chunk, plan
from ansible_collections.cht.couch2pg.plugins.module_utils.pipeline.worker import copy_chunk
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.stream import holder
from support import seed
from support.background import kill, wait_until
from support.cases import rarely
from support.clusters import Cluster
from support.migration import Migration, column, execute
from support.modules import login, run_module
from support.ports import free_port


@pytest.fixture(scope="module")
def seeded(source_cluster: Cluster) -> Iterator[str]:
    """A database on the source, which each test has a copy of: its couchdb has several chunks."""
    name = f"seeded_{os.getpid()}"
    seed.seed(source_cluster, name, documents=30000, huge=False)
    yield name
    seed.drop_database(source_cluster, name)


@pytest.fixture
def options(
    client_dir: Path,
    source_cluster: Cluster,
    target_cluster: Cluster,
    seeded: str,
    database_name: str,
    tmp_path: Path,
) -> Iterator[dict[str, Any]]:
    """Options of pg_stream for a copy of the seeded database."""
    incoming = f"{database_name}_incoming"
    execute(source_cluster, f"CREATE DATABASE {database_name} OWNER {seed.OWNER} TEMPLATE {seeded}")
    seed.create_role(target_cluster, seed.OWNER)
    yield {
        **login(target_cluster, database_name),
        "source": login(source_cluster, database_name),
        "incoming": incoming,
        "archive": str(tmp_path / "staging" / "test"),
        "bin_dir": str(client_dir),
        "migration_id": "test",
        "state_dir": str(tmp_path / "state"),
        "jobs": 2,
    }
    processes.kill_all([pid for folder in tmp_path.rglob("jobs/*") for pid in processes.of_job(folder)])
    seed.drop_database(source_cluster, database_name)
    seed.drop_database(target_cluster, incoming)


def of(options: dict[str, Any], *more: str) -> dict[str, Any]:
    """The options that the modules of later phases share with pg_stream."""
    names = {"login_host", "login_port", "login_user", "login_password", "migration_id", "state_dir", *more}
    return {name: options[name] for name in names}


def test_a_database_arrives_with_its_evidence(options: dict[str, Any]) -> None:
    done = run_module("pg_stream", options)
    assert not done.get("failed"), done
    assert done["changed"]
    assert done["dump"]["rows"] == done["rows"]
    incoming = {"database": options["incoming"]}
    refreshed = run_module("matview_refresh", {**of(options), **incoming})
    assert not refreshed.get("failed"), refreshed
    assert refreshed["function"]["without_rows"]
    verified = run_module("verify", {**of(options, "archive", "bin_dir"), **incoming})
    assert not verified.get("failed"), verified
    again = run_module("pg_stream", options)
    assert not again["changed"]


@pytest.mark.long
def test_what_is_left_out_does_not_arrive(options: dict[str, Any], source_cluster: Cluster) -> None:
    """One table of either kind: whose rows are streamed, and whose rows are in the archive."""
    make = "CREATE TABLE {} AS SELECT n, repeat(md5(n::text), 40) AS text FROM generate_series(1, {}) AS n"
    for name, rows in (("public.large_copy", 10000), ("public.small_copy", 10)):
        execute(source_cluster, make.format(name, rows), options["database"])
    tables = ["public.large_copy", "public.small_copy"]
    done = run_module("pg_stream", {**options, "leave_out": {"tables": tables}})
    check_evidence(done)
    assert not {*tables} & {row["table"] for row in done["tables"]}
    assert {*tables} <= {row["table"] for row in done["dump"]["left_out"]}
    incoming = {"database": options["incoming"]}
    run_module("matview_refresh", {**of(options), **incoming})
    verified = run_module("verify", {**of(options, "archive", "bin_dir"), **incoming})
    assert not verified.get("failed"), verified


CHUNK = Chunk("public.t", 0, "SELECT n, text FROM ONLY public.t", "COPY public.t (n, text) FROM STDIN", "hash64", 1)


def settings_of(cluster: Cluster, database: str) -> ConnectionSettings:
    return ConnectionSettings(database, cluster.host, cluster.port, password=cluster.password)


@pytest.fixture
def table(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Callable[[Cluster], str]
) -> tuple[ConnectionSettings, ConnectionSettings]:
    """Source and target of a table ``t`` that is too large for one chunk; empty on the target."""
    name = fresh_database(source_cluster)
    fresh_database(target_cluster)
    create = "CREATE TABLE t (n int, twice int GENERATED ALWAYS AS (n * 2) STORED, gone int, text text); ALTER TABLE t DROP gone"
    for cluster in (source_cluster, target_cluster):
        execute(cluster, create, name)
    execute(
        source_cluster,
        "INSERT INTO t (n, text) SELECT n, repeat(md5(n::text), 40) FROM generate_series(1, 60000) AS n",
        name,
    )
    return settings_of(source_cluster, name), settings_of(target_cluster, name)


def test_chunks_together_are_the_table(table: tuple[ConnectionSettings, ConnectionSettings]) -> None:
    """Rows that were written after the snapshot are not part of it; those that were deleted since are."""
    source, target = table
    with HeldSnapshot(source) as snapshot, Session(target) as receiver, Session(source) as writer:
        recipes = digest.recipes(snapshot.tables.kept, "hash64", snapshot.reader)
        chunks, complete = marks.prepare(receiver, lambda: plan(snapshot.session, snapshot.tables.kept, recipes))
        assert complete == 0
        assert len(chunks) > 2
        writer.execute("DELETE FROM public.t WHERE n % 10 = 0")
        writer.execute("INSERT INTO public.t (n) VALUES (-1)")
        rows = [copy_chunk(open_reader(source, snapshot.identifier), receiver, chunk) for chunk in chunks]
        assert all(rows[:-1])
        assert receiver.row(
            "SELECT count(*), sum(n), min(n), sum(length(text)) AS bytes, sum(twice) AS twice FROM public.t"
        ) == {
            "count": 60000,
            "sum": 60000 * 60001 // 2,
            "min": 1,
            "bytes": 60000 * 32 * 40,
            "twice": 60000 * 60001,
        }
        # What the chunks say that they contain is what both servers contain.
        ((rows, sums),) = marks.contents(receiver).values()
        copied = recipes["public.t"].digest(snapshot.tables.kept[0], rows, sums)
        assert [copied] == digest.digest_tables(
            snapshot.tables.kept, "hash64", 2, snapshot.reader, reading=snapshot.reading
        )
        here = [table for table in list_tables(receiver).kept if table.key == "public.t"]
        assert [copied] == digest.digest_tables(here, "hash64", 2, lambda: Session(target), like=[copied.as_dict()])
        # A second copy of the same chunk adds nothing, and the next attempt uses the first one's plan.
        assert copy_chunk(open_reader(source, snapshot.identifier), receiver, chunks[0]) == 0
        assert marks.prepare(receiver, list) == ([], len(chunks))
        marks.remove(receiver)
        assert receiver.value("SELECT to_regnamespace(%s)", [marks.SCHEMA]) is None


ODD_TABLE = r"""
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE DOMAIN document AS jsonb;
CREATE TABLE "od""d %s" (doc jsonb, "C0" json, c1 document, truth boolean, code char(5), place inet, bytes bytea, real4 real,
    amount numeric, "v1" text, mood mood, moods mood[], at timestamptz,
    twice text GENERATED ALWAYS AS ("v1" || "v1") STORED);
INSERT INTO "od""d %s" SELECT CASE WHEN n % 7 > 0 THEN jsonb_build_object('n', n, 'text', E'a\tb\n\\N %s', 'one', 1.10) END,
    '{"a":  1}', '[1.0, null]', n % 2 = 0, 'ab', '10.0.0.1', '\x00ff', 0.1 * n, 1.50, nullif(repeat(md5(n::text), n % 5), ''), 'high',
    '{low,NULL}', now() FROM generate_series(1, 300) AS n;
INSERT INTO "od""d %s" DEFAULT VALUES;
"""


@pytest.mark.parametrize("method", digest.METHODS)
def test_rows_are_digested_as_they_are_copied(
    method: str, source_cluster: Cluster, fresh_database: Callable[[Cluster], str]
) -> None:
    """Also those with types whose text is not what COPY writes."""
    settings = settings_of(source_cluster, fresh_database(source_cluster))
    with Session(settings) as session:
        session.execute("SET search_path = public")
        session.execute(ODD_TABLE)
        session.pin()
        tables = list_tables(session).kept
        (plain,) = digest.digest_tables(tables, method, 1, lambda: Session(settings))
        recipes = digest.recipes(tables, method, lambda: Session(settings))
        (chunk,) = plan(session, tables, recipes)
        sent: list[bytes] = []
        digest.start_sums(session, method)
        rows = session.copy_out(chunk.copy_out, sent.append)
        assert recipes[chunk.table].digest(tables[0], rows, digest.read_sums(session, method)) == plain
        expected: list[bytes] = []
        session.copy_out(chunk.copy_in.replace("FROM STDIN", "TO STDOUT"), expected.append)
        assert sent == expected


def test_a_chunk_that_the_source_breaks_off_leaves_nothing(
    table: tuple[ConnectionSettings, ConnectionSettings],
) -> None:
    """What has arrived by then looks complete to the target: the end of a pipe is the end of a COPY."""
    source, target = table
    with Session(source) as sender, Session(target) as receiver:
        marks.prepare(receiver, list)
        sender.execute("SET statement_timeout = '30ms'")
        with pytest.raises(MigrationError, match="statement timeout"):
            copy_chunk(sender, receiver, CHUNK)
    with Session(target) as session:
        assert session.value("SELECT count(*) FROM public.t") == 0
        assert marks.prepare(session, list) == ([], 0)


def test_a_chunk_that_the_target_refuses_leaves_nothing(table: tuple[ConnectionSettings, ConnectionSettings]) -> None:
    source, target = table
    with Session(source) as sender, Session(target) as receiver:
        marks.prepare(receiver, list)
        receiver.execute("ALTER TABLE public.t ADD CHECK (n < 50000)")
        with pytest.raises(MigrationError, match="violates check constraint"):
            copy_chunk(sender, receiver, CHUNK)
    with Session(target) as session:
        assert session.value("SELECT count(*) FROM public.t") == 0


@pytest.fixture
def held(options: dict[str, Any], tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Options of pg_snapshot, on the source's side; the job is ended afterwards."""
    mine = {**options["source"], "migration_id": "test", "state_dir": str(tmp_path / "source")}
    yield mine
    job.cancel(job.job_folder(mine["state_dir"], "test", holder.KIND))


def begin(options: dict[str, Any], target: Cluster) -> None:
    """Start a copy that halts after its first chunks: one byte a second is its limit."""
    started = run_module("pg_stream", {**options, "job_wait": 0, "rate_limit": 1})
    assert started["job"]["status"] == "running", started

    def some_chunks() -> bool:
        if options["incoming"] not in column(target, "SELECT datname FROM pg_database"):
            return False
        there = f"SELECT to_regclass('{marks.SCHEMA}.complete') IS NOT NULL"
        return column(target, there, options["incoming"]) == [True] and complete(options, target) != 0

    wait_until("a chunk is complete", some_chunks)


def complete(options: dict[str, Any], target: Cluster) -> int:
    (count,) = column(target, f"SELECT count(*) FROM {marks.SCHEMA}.complete", options["incoming"])
    return int(count)


def kill_copy(options: dict[str, Any], target: Cluster) -> None:
    folder = job.job_folder(options["state_dir"], "test", "restore")
    kill(processes.of_job(folder))
    wait_until("the job ended", lambda: not processes.of_job(folder))
    # The server may still be at what it was told last, which can be the end of a chunk.
    sessions = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{options['incoming']}' AND backend_type = 'client backend'"
    wait_until("its sessions ended", lambda: column(target, sessions) == [0])


def check_evidence(done: dict[str, Any]) -> None:
    assert not done.get("failed"), done
    source, target = (
        {row["table"]: row["digest"] for row in side} for side in (done["dump"]["tables"], done["tables"])
    )
    assert source == target


def test_a_copy_that_was_killed_goes_on_while_its_snapshot_is_held(
    options: dict[str, Any], held: dict[str, Any], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    """What changed on the source meanwhile is not part of it."""
    first = run_module("pg_snapshot", held)
    assert first["changed"], first
    options["snapshot"] = first["snapshot"]
    begin(options, target_cluster)
    kill_copy(options, target_cluster)
    before = complete(options, target_cluster)
    execute(source_cluster, "DELETE FROM couchdb WHERE ctid < '(50,0)'", options["database"])
    execute(source_cluster, "INSERT INTO couchdb_progress VALUES ('1-x', 'later')", options["database"])
    again = run_module("pg_snapshot", held)
    assert (again["changed"], again["snapshot"]) == (False, first["snapshot"])
    done = run_module("pg_stream", options)
    check_evidence(done)
    assert done["resumed_chunks"] == before
    # The copy has ended the job.
    folder = job.job_folder(held["state_dir"], "test", holder.KIND)
    ended = job.wait(folder, 20)
    assert (ended.status, ended.result["value"]["ended"]) == ("done", "released")


def test_a_copy_whose_snapshot_is_lost_begins_again_and_says_so(
    options: dict[str, Any], held: dict[str, Any], target_cluster: Cluster
) -> None:
    options["snapshot"] = run_module("pg_snapshot", held)["snapshot"]
    begin(options, target_cluster)
    kill_copy(options, target_cluster)
    folder = job.job_folder(held["state_dir"], "test", holder.KIND)
    kill(processes.of_job(folder))
    wait_until("the job ended", lambda: job.read_state(folder).status == "dead")
    lost = run_module("pg_stream", options)
    assert lost["code"] == "snapshot_lost", lost
    options["snapshot"] = run_module("pg_snapshot", held)["snapshot"]
    done = run_module("pg_stream", options)
    check_evidence(done)
    assert done["resumed_chunks"] == 0
    log = job.job_folder(options["state_dir"], "test", "restore") / "log"
    assert "all rows are copied again" in log.read_text()


@pytest.mark.parametrize("side", [rarely("source"), rarely("target")])
def test_connections_that_are_lost_are_opened_again(
    side: str, options: dict[str, Any], held: dict[str, Any], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    """The server ends every connection but that of the snapshot, as a cut line would."""
    snapshot = run_module("pg_snapshot", held)["snapshot"]
    # With one pipeline, the second chunk always needs the connection that is cut.
    options.update(snapshot=snapshot, jobs=1)
    begin(options, target_cluster)
    cluster = source_cluster if side == "source" else target_cluster
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid NOT IN (pg_backend_pid(), {})"
    database = options["database"] if side == "source" else options["incoming"]
    execute(cluster, cut.format(database, snapshot["backend"]))
    folder = job.job_folder(options["state_dir"], "test", "restore")
    limits.save(folder, limits.Limits())
    done = run_module("pg_stream", options)
    check_evidence(done)
    assert not done["job"]["started"]
    assert "Trying again" in (folder / "log").read_text()


def test_a_copy_that_was_dropped_is_made_again(options: dict[str, Any], target_cluster: Cluster) -> None:
    """As couch2pg_restart_from does it: the archive doesn't have the rows that were streamed."""
    check_evidence(run_module("pg_stream", options))
    where = {name: options[name] for name in (*login(target_cluster, ""), "incoming", "migration_id", "state_dir")}
    assert run_module("database_drop", {**where, "which": "incoming"})["dropped"] == options["incoming"]
    check_evidence(run_module("pg_stream", options))


@pytest.mark.long
def test_a_copy_without_a_held_snapshot_begins_again(options: dict[str, Any], target_cluster: Cluster) -> None:
    begin(options, target_cluster)
    kill_copy(options, target_cluster)
    done = run_module("pg_stream", options)
    check_evidence(done)
    assert done["resumed_chunks"] == 0


def test_preflight_counts_the_workers_of_the_copy_on_both_servers(migration: Migration) -> None:
    migration.variables["couch2pg_method"] = "stream"
    migration.host_variables = {"source": {"couch2pg_jobs": 1}, "target": {"couch2pg_jobs": 200}}
    message = migration.fail(playbook="preflight")
    assert message.count("(couch2pg_jobs: 200, and ") == message.count("Set couch2pg_jobs of the target to ") == 2
    migration.variables["couch2pg_method"] = "archive"
    assert migration.fail(playbook="preflight").count("(couch2pg_jobs: 200, and ") == 1


@pytest.mark.parametrize("thoroughly", [False, rarely(True)])
def test_a_whole_migration_by_stream(migration: Migration, thoroughly: bool) -> None:
    migration.variables["couch2pg_method"] = "auto"
    if thoroughly:
        # Neither the server nor an sshd answers there.
        migration.variables.update(couch2pg_stream_address="127.0.0.9", couch2pg_transfer_port=free_port())
        predicted = migration.succeed("--check")
        assert "The method is archive: PostgreSQL at 127.0.0.9" in predicted.output
        del migration.variables["couch2pg_stream_address"]
        # Preflight succeeds, and then the snapshot fails.
        damaged = migration.state / "jobs" / "snapshot"
        damaged.mkdir(parents=True)
        for name in ("spec.json", "result.json"):
            (damaged / name).write_text("{}", encoding="utf-8")
        failed = migration.run()
        assert failed.code, failed.output
        assert "The method is stream: the target may log in to the source's server" in failed.output
        assert migration.record["phases"]["restore"]["error"]["msg"] == failed.message
        assert "isn't a job's result" in failed.message
        assert "What happened, and what to do: " in failed.output
        shutil.rmtree(damaged)
    first = migration.succeed()
    if not thoroughly:
        assert "The method is stream: the target may log in to the source's server" in first.output
    assert "DONE" in first.output
    assert migration.record["phases"]["preflight"]["result"]["method"]["method"] == "stream"
    assert column(migration.target, "SELECT count(*) FROM couchdb", migration.database) == column(
        migration.source, "SELECT count(*) FROM couchdb", migration.database
    )
    if not thoroughly:
        return
    again = migration.run()
    assert (again.code, again.changed) == (0, 0), again.output
    assert "The method is stream: this migration has begun with it" in again.output
    # A run that is killed has recorded no phase, and has left the job of the copy, or of the dump.
    record = migration.state / "record.json"
    recorded = record.read_text(encoding="utf-8")
    begun = {**migration.record, "phases": {"preflight": migration.record["phases"]["preflight"]}}
    write_json(record, begun)
    migration.variables["couch2pg_stream_address"] = "127.0.0.9"
    jobs = migration.state / "jobs"
    for kind, other in (("restore", "dump"), ("dump", "restore")):
        assert (jobs / kind).is_dir()
        assert "The method is stream: this migration has begun with it" in migration.run("preflight").output
        (jobs / kind).rename(jobs / other)
    record.write_text(recorded, encoding="utf-8")
    del migration.variables["couch2pg_stream_address"]
    migration.variables["couch2pg_cleanup"] = "archives"
    cleaned = migration.run("cleanup")
    assert cleaned.code == 0, cleaned.output
    assert not migration.archive.exists()
