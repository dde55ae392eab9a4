# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method stream: the same evidence as with an archive, and no lost or doubled row whatever is interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence.snapshot import HeldSnapshot, open_reader
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.pipeline import marks
from ansible_collections.cht.couch2pg.plugins.module_utils.pipeline.chunks import Chunk, plan
from ansible_collections.cht.couch2pg.plugins.module_utils.pipeline.worker import copy_chunk
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings, Session
from support.background import kill, wait_until
from support.clusters import Cluster
from support.migration import Migration, column, execute
from support.modules import login, run_module


@pytest.fixture
def options(
    client_dir: Path,
    source_cluster: Cluster,
    target_cluster: Cluster,
    make_migration: Callable[..., Any],
    tmp_path: Path,
) -> dict[str, Any]:
    """Options of pg_stream for a database of which couchdb has several chunks."""
    migration = make_migration(source_cluster, target_cluster, documents=30000)
    return {
        **login(target_cluster, migration.database),
        "source": login(source_cluster, migration.database),
        "incoming": f"{migration.database}_incoming",
        "archive": str(tmp_path / "staging" / "test"),
        "bin_dir": str(client_dir),
        "migration_id": "test",
        "state_dir": str(tmp_path / "state"),
        "jobs": 2,
    }


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
    verified = run_module("verify", {**of(options, "archive", "bin_dir"), **incoming})
    assert not verified.get("failed"), verified
    again = run_module("pg_stream", options)
    assert not again["changed"]


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
        marks.prepare(receiver)
        chunks = plan(snapshot.session, snapshot.tables.kept)
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
        assert marks.prepare(receiver) == {chunk.key for chunk in chunks}
        marks.remove(receiver)
        assert receiver.value("SELECT to_regnamespace(%s)", [marks.SCHEMA]) is None


def test_a_chunk_that_the_source_breaks_off_leaves_nothing(
    table: tuple[ConnectionSettings, ConnectionSettings],
) -> None:
    """What has arrived by then looks complete to the target: the end of a pipe is the end of a COPY."""
    source, target = table
    with Session(source) as sender, Session(target) as receiver:
        marks.prepare(receiver)
        sender.execute("SET statement_timeout = '30ms'")
        with pytest.raises(MigrationError, match="statement timeout"):
            copy_chunk(sender, receiver, Chunk("public.t", "public.t", "n, text", 0, None, 1, whole=True))
    with Session(target) as session:
        assert session.value("SELECT count(*) FROM public.t") == 0
        assert marks.prepare(session) == set()


def test_a_chunk_that_the_target_refuses_leaves_nothing(table: tuple[ConnectionSettings, ConnectionSettings]) -> None:
    source, target = table
    with Session(source) as sender, Session(target) as receiver:
        marks.prepare(receiver)
        receiver.execute("ALTER TABLE public.t ADD CHECK (n < 50000)")
        with pytest.raises(MigrationError, match="violates check constraint"):
            copy_chunk(sender, receiver, Chunk("public.t", "public.t", "n, text", 0, None, 1, whole=True))
    with Session(target) as session:
        assert session.value("SELECT count(*) FROM public.t") == 0


def test_a_copy_that_was_killed_begins_again_and_completes(options: dict[str, Any], target_cluster: Cluster) -> None:
    folder = Path(options["state_dir"]) / "test" / "jobs" / "restore"
    started = run_module("pg_stream", {**options, "job_wait": 0, "rate_limit": 1})
    assert started["job"]["status"] == "running", started
    count = f"SELECT count(*) FROM {marks.SCHEMA}.chunks"

    def some_chunks() -> bool:
        names = column(target_cluster, "SELECT datname FROM pg_database")
        if options["incoming"] not in names:
            return False
        there = f"SELECT to_regclass('{marks.SCHEMA}.chunks') IS NOT NULL"
        return column(target_cluster, there, options["incoming"]) == [True] and column(
            target_cluster, count, options["incoming"]
        ) != [0]

    # The limit of one byte a second halts the copy after its first chunks.
    wait_until("a chunk is complete", some_chunks)
    kill(processes.of_job(folder))
    wait_until("the job ended", lambda: not processes.of_job(folder))
    done = run_module("pg_stream", options)
    assert not done.get("failed"), done
    assert {row["table"]: row["digest"] for row in done["tables"]} == {
        row["table"]: row["digest"] for row in done["dump"]["tables"]
    }


def test_a_whole_migration_by_stream(migration: Migration) -> None:
    migration.variables["couch2pg_method"] = "stream"
    first = migration.run()
    assert first.code == 0, first.output
    assert first.warnings == []
    assert "DONE" in first.output
    assert column(migration.target, "SELECT count(*) FROM couchdb", migration.database) == column(
        migration.source, "SELECT count(*) FROM couchdb", migration.database
    )
    again = migration.run()
    assert (again.code, again.changed) == (0, 0), again.output
    migration.variables["couch2pg_cleanup"] = "archives"
    cleaned = migration.run("cleanup")
    assert cleaned.code == 0, cleaned.output
    assert not migration.archive.exists()
