# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method physical: a copy of the whole server that shows exactly what the evidence shows, while couch2pg writes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator

import psycopg2
import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common import progress_line
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes, programs
from ansible_collections.cht.couch2pg.plugins.module_utils.host.programs import Program
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job, limits
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import (
    backup,
    placement,
    private_server,
    recovery,
    wal,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.physical.folders import Folders, Owner, Steps
from ansible_collections.cht.couch2pg.plugins.module_utils.physical.moment import Moment, Point
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import binaries, places
from support.background import Background, kill, wait_until
from support.cases import rarely
from support.clusters import Cluster
from support.ground import IGNORED, JOB, every, killed_at
from support.migration import Migration, column, execute
from support.migration import login as migration_login
from support.modules import login, run_module
from support.preflight import failures, look
from support.writer import BackgroundWriter, Writer


@pytest.fixture(scope="module")
def same_major() -> Iterator[Cluster]:
    """A target of the source's major version."""
    folder = Path(tempfile.mkdtemp(prefix="16-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(16)) as cluster:
        yield cluster


def remove_copy(target: Cluster) -> None:
    """End the servers on copies beside the target's data directory, and remove them."""
    for path in [*target.directory.glob("data_incoming_*"), *target.directory.glob("data_incoming_*/old")]:
        private_server.end_on(path)
    for path in target.directory.glob("data_incoming_*"):
        shutil.rmtree(path)


@pytest.fixture
def made() -> list[Migration]:
    """The migrations of ``make_options``."""
    return []


def options_of(migration: Migration, tmp_path: Path) -> dict[str, Any]:
    """Options of pg_physical for the migration's database."""
    return {
        **login(migration.target, "postgres"),
        "database": migration.database,
        "source": login(migration.source, migration.database),
        "archive": str(tmp_path / "staging" / "test"),
        "bin_dir": str(binaries.clients().bin_dir),
        "server_bin_dir": str(migration.source.binaries.bin_dir),
        "migration_id": "test",
        "state_dir": str(tmp_path / "state"),
    }


@pytest.fixture
def make_options(
    source_cluster: Cluster, make_migration: Callable[..., Any], made: list[Migration], tmp_path: Path
) -> Iterator[Callable[[Cluster], dict[str, Any]]]:
    """Call it with a target: options of pg_physical for a seeded database."""
    targets: list[Cluster] = []

    def make(target: Cluster, documents: int = 400) -> dict[str, Any]:
        targets.append(target)
        migration = make_migration(source_cluster, target, documents=documents)
        made.append(migration)
        return options_of(migration, tmp_path)

    yield make
    for target in targets:
        remove_copy(target)


def of_copy(done: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options of later phases for the server on the copy."""
    names = ("database", "migration_id", "state_dir")
    return {**done["login"], **{name: options[name] for name in names}}


def verify(done: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return run_module("verify", {**of_copy(done, options), **{name: options[name] for name in ("archive", "bin_dir")}})


# A server prints these in other words once it has read them from a dump, which a copy never was.
OWN_WORDS = """
CREATE TABLE own_words (id bigint GENERATED ALWAYS AS IDENTITY, status varchar CHECK (status IN ('ok', 'low')));
ALTER TABLE own_words ALTER id TYPE int;
"""


def test_a_copy_equals_its_evidence_while_couch2pg_writes(
    make_options: Callable[..., dict[str, Any]], source_cluster: Cluster, same_major: Cluster
) -> None:
    options = make_options(same_major)
    execute(source_cluster, OWN_WORDS, options["database"])
    writing = Writer(lambda: source_cluster.connect(options["database"]), pause=0.01)
    with BackgroundWriter(writing) as writer:
        writer.wait_for(2)
        done = run_module("pg_physical", options)
        writer.wait_for(2)
    assert not done.get("failed"), done
    assert done["changed"]
    refreshed = run_module("matview_refresh", of_copy(done, options))
    assert not refreshed.get("failed"), refreshed
    assert all(view["done_before"] for view in refreshed["matviews"]), refreshed
    verified = verify(done, options)
    assert not verified.get("failed"), verified
    again = run_module("pg_physical", options)
    assert not again["changed"], again
    # The source keeps nothing of it.
    assert column(source_cluster, "SELECT slot_name FROM pg_replication_slots") == []
    altered = "UPDATE public.couchdb SET doc = doc || '{\"altered\": true}' WHERE ctid = (SELECT min(ctid) FROM public.couchdb)"
    with Session(
        ConnectionSettings(options["database"], unix_socket=done["login"]["login_unix_socket"], port=50432)
    ) as copy:
        copy.execute(altered)
    different = verify(done, options)
    assert "public.couchdb has different content" in different["msg"], different
    # Begin again: the copy is removed.
    login_and_state = {
        name: value for name, value in options.items() if name.startswith(("login_", "migration", "state"))
    }
    restart = {**login_and_state, "which": "incoming", "database": options["database"], "incoming": options["database"]}
    discarded = run_module("database_drop", restart)
    assert discarded["dropped"] == done["data_directory"], discarded
    assert not list(same_major.directory.glob("data_incoming_*"))
    assert run_module("database_drop", restart)["dropped"] is None


NOT_LOADED = r"""
CREATE TABLE names (v text); INSERT INTO names VALUES ('plain'), (E'Andr\xe9');
CREATE FUNCTION small(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 100'; CREATE TABLE broken (n int CHECK (small(n)));
INSERT INTO broken VALUES (50); CREATE OR REPLACE FUNCTION small(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 10';
CREATE FUNCTION inner_f(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT length($1)';
CREATE FUNCTION outer_f(text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN inner_f($1); END';
CREATE DOMAIN code AS text CHECK (outer_f(VALUE) > 0); CREATE TABLE coded (c code); INSERT INTO coded VALUES ('a');
"""


@pytest.mark.long
def test_what_could_not_be_loaded_can_be_copied(
    make_options: Callable[..., dict[str, Any]], source_cluster: Cluster, same_major: Cluster
) -> None:
    """Bytes that are no UTF-8, rows that break their constraint, functions without a search_path: preflight has nothing against them."""
    options = make_options(same_major)
    name = options["database"]
    execute(source_cluster, f"DROP DATABASE {name}")
    execute(source_cluster, f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    execute(
        source_cluster,
        "CREATE TABLE couchdb (doc jsonb); CREATE TABLE couchdb_progress (seq varchar, source varchar)",
        name,
    )
    execute(source_cluster, NOT_LOADED, name)
    place = {key: options[key] for key in ("migration_id", "state_dir", "bin_dir")}
    found = look({**place, "staging_dir": options["state_dir"]}, source_cluster, name, method="physical")
    assert not {"encoding", "constraints", "domain public.code: code_check"} & {*failures(found)}
    done = run_module("pg_physical", options)
    assert not done.get("failed"), done
    assert not run_module("matview_refresh", of_copy(done, options)).get("failed")
    verified = verify(done, options)
    assert not verified.get("failed"), verified


@pytest.fixture
def oldest_target() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="10-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(10)) as cluster:
        yield cluster


@pytest.mark.long
def test_the_oldest_version_is_recovered_by_recovery_conf(
    old_cluster: Cluster,
    oldest_target: Cluster,
    make_migration: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of this version only the server is there; the clients are newer."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(old_cluster.binaries.library_dir))
    options = options_of(make_migration(old_cluster, oldest_target), tmp_path)
    done = run_module("pg_physical", options)
    try:
        assert not done.get("failed"), done
        assert (oldest_target.directory / "data_incoming_test" / "recovery.done").exists()
        verified = verify(done, options)
        assert not verified.get("failed"), verified
    finally:
        remove_copy(oldest_target)


@pytest.fixture
def newer_target(source_cluster: Cluster) -> Iterator[Cluster]:
    """A server of its own of a newer major version, to be replaced: its superuser has the source's password, as promotion wants it."""
    folder = Path(tempfile.mkdtemp(prefix="18-", dir=places.work_folder("clusters")))
    places.server_account().give(folder)
    with Cluster.create(folder, binaries.binaries(18), settings={"work_mem": "7MB"}) as cluster:
        places.server_account().give(folder)
        execute(cluster, f"ALTER ROLE postgres PASSWORD '{source_cluster.password}'")
        cluster.password = source_cluster.password
        cluster.remember("postgres", cluster.password)
        yield cluster
        remove_copy(cluster)


@pytest.mark.long
@pytest.mark.parametrize("ending", ["cleanup", "rollback"])
def test_a_whole_migration_to_a_newer_version(
    newer_target: Cluster, make_migration: Callable[..., Any], source_cluster: Cluster, ending: str
) -> None:
    """From a source that never rests, over a line with compression; and what its data directory before becomes."""
    migration: Migration = make_migration(source_cluster, newer_target)
    data = newer_target.data_directory
    hba = data / "pg_hba.conf"
    before = (
        hba.read_text(encoding="utf-8"),
        column(newer_target, "SELECT system_identifier FROM pg_control_system()"),
    )
    stop, start = placement.hand_commands(data.owner(), data, data / "postgresql.conf", newer_target.binaries.bin_dir)
    migration.variables.update(
        couch2pg_method="physical",
        couch2pg_physical_commands={"stop": stop, "start": start},
        couch2pg_physical_bin_dir=str(source_cluster.binaries.bin_dir),
        couch2pg_physical_lock_seconds=5,
        couch2pg_physical_compression="server-gzip:1",
    )
    with BackgroundWriter(Writer(lambda: source_cluster.connect(migration.database), pause=0.0)) as writer:
        writer.wait_for(2)
        run = migration.run("migrate")
        assert run.code == 0, run.output
    migration.check_secrets(run.output)
    log = (migration.state / "jobs" / "restore" / "log").read_text(encoding="utf-8")
    assert re.search(r", attempt [123]\.\n", log)
    spec = json.loads((migration.state / "jobs" / "restore" / "spec.json").read_text(encoding="utf-8"))
    assert spec["parameters"]["compression"] == "server-gzip:1"
    promoted = migration.record["phases"]["promote"]["result"]
    replaced = Path(promoted["replaced"])
    assert sorted(path.name for path in newer_target.directory.glob("data*") if path.is_dir()) == [
        "data",
        replaced.name,
    ]
    assert (data / "PG_VERSION").read_text(encoding="utf-8") == "18\n"
    assert (hba.read_text(encoding="utf-8"), column(newer_target, "SHOW work_mem")) == (before[0], ["7MB"])
    counted = "SELECT count(*) FROM pg_matviews WHERE NOT ispopulated UNION ALL SELECT count(*) FROM couchdb WHERE doc IS NULL"
    assert column(newer_target, counted, migration.database) == [0, 0]
    again = migration.run("migrate")
    assert (again.code, again.changed) == (0, 0), again.output
    if ending == "rollback":
        data = newer_target.directory / "data"
        checked = migration.run("rollback", "--check")
        assert (checked.code, len(checked.planned)) == (0, 4), checked.output
        stop, migrated_away, put_back, start = checked.planned
        assert (stop, start) == ("on target: stop the PostgreSQL service", "on target: start the PostgreSQL service")
        assert re.fullmatch(rf"on target: rename the data directory {data} to {data}_rolled_back_\w+", migrated_away)
        assert put_back == f"on target: rename the data directory {replaced} to {data}"
        back = migration.run("rollback")
        assert back.code == 0, back.output
        assert column(newer_target, "SELECT system_identifier FROM pg_control_system()") == before[1]
        assert not replaced.exists()
        assert len(list(newer_target.directory.glob("data_rolled_back_*"))) == 1
        return
    words = ("-e", "couch2pg_cleanup=replaced_server")
    predicted = migration.run("cleanup", *words, "--check")
    assert (predicted.code, replaced.is_dir()) == (0, True), predicted.output
    assert predicted.planned == [f"on target: remove the data directory {replaced}"]
    removed = migration.run("cleanup", *words)
    assert (removed.code, replaced.exists()) == (0, False), removed.output
    assert migration.record["phases"]["cleanup"]["result"]["replaced_server"]
    assert migration.run("cleanup", *words).changed == 0
    assert column(newer_target, counted, migration.database) == [0, 0]
    assert "nothing to go back to" in migration.fail(playbook="rollback")


def state_of(target: Cluster) -> tuple[Any, ...]:
    """What a rehearsal must leave as it is: the server, its databases and roles, and what is beside its data directory."""
    names = "SELECT datname || ' ' || oid FROM pg_database UNION ALL SELECT rolname FROM pg_roles ORDER BY 1"
    started = "SELECT pg_postmaster_start_time()::text"
    beside = sorted(path.name for path in target.directory.iterdir())
    return column(target, started), column(target, names), beside


@pytest.mark.long
@pytest.mark.parametrize("where", ["same major", "newer major", "third host"])
def test_a_rehearsal_copies_the_server_and_leaves_all_as_they_were(
    # They go in the other order.
    newer_target: Cluster,
    make_options: Callable[..., dict[str, Any]],
    made: list[Migration],
    source_cluster: Cluster,
    same_major: Cluster,
    tmp_path: Path,
    where: str,
) -> None:
    """Another database on the target, and no command that would stop it, are no obstacles to it."""
    target = newer_target if where == "newer major" else same_major
    make_options(target)
    migration = made[0]
    migration.variables["couch2pg_method"] = "physical"
    states, arguments, host = migration.state.parent, [], target
    if where == "third host":
        host, states = newer_target, tmp_path / "third"
        variables = {"couch2pg_state_dir": str(states), "couch2pg_staging_dir": str(tmp_path / "staging of third")}
        third = {**migration_login(host), **variables}
        inventory = tmp_path / "more" / "inventory.json"
        inventory.parent.mkdir()
        inventory.write_text(json.dumps({"couch2pg_rehearsal": {"hosts": {"third": third}}}), encoding="utf-8")
        arguments = ["-i", str(inventory)]
    if host is newer_target:
        migration.variables["couch2pg_physical_bin_dir"] = str(source_cluster.binaries.bin_dir)
    execute(host, "CREATE DATABASE superset")
    before = [state_of(cluster) for cluster in (target, host)]
    try:
        run = migration.run("rehearse", *arguments)
        assert run.code == 0, run.output
        assert [state_of(cluster) for cluster in (target, host)] == before
    finally:
        execute(host, "DROP DATABASE superset")
    assert "the copy was complete and verified" in run.output
    assert "has databases of its own (superset)" in run.output
    assert "The rehearsal continues without that; the migration will not." in run.output
    assert "with the method physical, followed by the handover" in run.output
    migration.check_secrets(run.output)
    (name,) = [path.name for path in states.glob("*_rehearsal_*")]
    record = json.loads((states / name / "record.json").read_text(encoding="utf-8"))
    phases = {phase: entry["status"] for phase, entry in record["phases"].items()}
    assert phases == dict.fromkeys(("preflight", "dump", "restore", "refresh", "verify", "rehearse"), "done")
    (rehearsed,) = record["phases"]["rehearse"]["result"]["rehearsals"]
    assert (rehearsed["method"], sorted(rehearsed["phases"])) == ("physical", ["refresh", "restore", "verify"])
    assert record["phases"]["restore"]["result"]["server_version"] // 10000 == host.binaries.major
    assert [*(migration.folder / "staging").glob("*"), *tmp_path.glob("staging of third/*")] == []
    assert not migration.state.exists()
    # Nothing of it is left on the source: no slot, no session that holds a snapshot or receives WAL.
    ours = "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE '%couch2pg%' AND pid <> pg_backend_pid()"
    assert column(source_cluster, ours) == []
    assert column(source_cluster, "SELECT slot_name FROM pg_replication_slots") == []


def cut_rehearsal(migration: Migration) -> str:
    """One whose backup was killed; returns its name."""
    run = Background(migration, playbook="rehearse")

    def backs_up() -> bool:
        # With this limit it may be stopped before it has written a file.
        folders = migration.state.parent.glob("*_rehearsal_*/jobs/restore")
        found = [pid for folder in folders for pid in processes.of_job(folder)]
        return "pg_basebackup" in map(processes.name, found) or run.process.poll() is not None

    wait_until("the backup runs", backs_up)
    name = max(path.name for path in migration.state.parent.glob("*_rehearsal_*"))
    kill(processes.of_job(migration.state.parent / name / "jobs" / "restore"))
    assert "ended without a result" in run.end().message
    return name


@pytest.mark.long
def test_a_rehearsal_that_was_cut_is_given_up_or_resumed(
    make_options: Callable[..., dict[str, Any]], made: list[Migration], same_major: Cluster
) -> None:
    make_options(same_major)
    migration = made[0]
    migration.variables.update(couch2pg_method="physical", couch2pg_rate_limit="1KB")
    before = state_of(same_major)
    refused = migration.fail("-e", "couch2pg_rehearsal_keep=true", playbook="rehearse")
    assert "it is removed at the end, so couch2pg_rehearsal_keep can not keep it" in refused
    names = []
    for ending in ("given up", "resumed"):
        names.append(cut_rehearsal(migration))
        if ending == "given up":
            abandoned = migration.run("rehearse", "-e", "couch2pg_rehearsal_abandon=true")
            assert abandoned.code == 0, abandoned.output
            assert state_of(same_major) == before
    # It keeps the method that it has begun with.
    migration.variables.update(couch2pg_method="archive", couch2pg_rate_limit="0")
    resumed = migration.run("rehearse")
    assert f"{names[1]} is resumed." in resumed.output, resumed.output
    assert "with the method physical, followed by the handover" in resumed.output
    assert state_of(same_major) == before


@pytest.mark.long
def test_the_limit_of_a_backup_can_be_changed_and_a_cut_one_begins_again(
    make_options: Callable[..., dict[str, Any]], same_major: Cluster
) -> None:
    options = {**make_options(same_major), "rate_limit": 1, "job_wait": 0}
    folder = job.job_folder(options["state_dir"], "test", "restore")

    def backs_up() -> bool:
        return any(processes.name(process) == "pg_basebackup" for process in processes.of_job(folder))

    for attempt in range(2):
        assert run_module("pg_physical", options)["job"]["status"] == "running"
        wait_until("the backup runs", backs_up)
        assert job.read_state(folder).progress["step"] == "backup"
        log = (folder / "log").read_text()
        if attempt == 0:
            assert job.cancel(folder).result["error"]["code"] == "cancelled"
            assert not backs_up()
    assert "an earlier backup was interrupted, so it begins again" in log
    limits.save(folder, limits.Limits())
    done = run_module("pg_physical", {**options, "job_wait": 120})
    assert not done.get("failed"), done
    assert not done["job"]["started"]
    # Somebody removes the copy.
    remove_copy(same_major)
    again = run_module("pg_physical", {**options, "rate_limit": 0, "job_wait": 120})
    assert again["changed"], again
    assert again["restore_point"] != done["restore_point"]


def settings_of(cluster: Cluster, database: str) -> ConnectionSettings:
    return ConnectionSettings(database, cluster.host, cluster.port, password=cluster.password)


def take(settings: ConnectionSettings, name: str = "test", **options: Any) -> Point:
    """The restore point of a moment, whose snapshot is given up."""
    with Moment.take(settings, name, **options) as moment:
        return moment.point


def test_a_running_transaction_is_no_part_of_the_moment(
    fresh_database: Callable[[Cluster], str], source_cluster: Cluster
) -> None:
    """It may be in the middle of its commit when it is young; then its record could be before the restore point."""
    settings = settings_of(source_cluster, fresh_database(source_cluster))
    with Session(settings) as writer:
        writer.execute("CREATE TABLE public.couchdb (n int)")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO public.couchdb VALUES (1)")
        number = int(writer.value("SELECT txid_current()"))
        with pytest.raises(MigrationError, match="couch2pg_physical_lock_seconds: 5") as refused:
            take(settings, patience=0.3)
        assert refused.value.code == "never_rests"
        with pytest.raises(MigrationError, match=r"could not be locked within couch2pg_physical_lock_seconds \(1 s\)"):
            take(settings, lock_seconds=1)
        # Nobody waits for the lock that was given up, and the transaction is seen for long enough by now.
        assert number in take(settings).running
        writer.execute("COMMIT")
    assert not take(settings, lock_seconds=1).running


def test_a_source_that_never_rests_rests_for_a_lock(
    fresh_database: Callable[[Cluster], str], source_cluster: Cluster
) -> None:
    """Four sessions whose transactions end all the time wait for it, and then go on."""
    settings = settings_of(source_cluster, fresh_database(source_cluster))
    with Session(settings) as session:
        session.execute("CREATE TABLE public.couchdb (n int)")
    stop = threading.Event()

    def write() -> None:
        with Session(settings) as session:
            while not stop.is_set():
                session.execute("INSERT INTO public.couchdb VALUES (1)")

    with ThreadPoolExecutor() as pool:
        writing = [pool.submit(write) for _number in range(4)]
        try:
            with Moment.take(settings, "locked", lock_seconds=5) as moment:
                # Only something else, such as autovacuum, can make an attempt vain.
                assert moment.attempts <= 3
                rows = counted(settings)
                # The lock was for the moment only.
                wait_until("others write again", lambda: counted(settings) > rows)
        finally:
            stop.set()
        for each in writing:
            each.result()


def counted(settings: ConnectionSettings) -> int:
    with Session(settings) as session:
        return int(session.value("SELECT count(*) FROM public.couchdb"))


@pytest.fixture(scope="module")
def pieces(source_cluster: Cluster) -> Iterator[Pieces]:
    """A base backup and the WAL up to two restore points, between which a row was written."""
    folder = Path(tempfile.mkdtemp(prefix="pieces-", dir=places.work_folder("clusters")))
    account = places.server_account()
    account.give(folder)
    owner = Owner.of(folder)
    settings = settings_of(source_cluster, "postgres")
    name = f"pieces_{folder.name.replace('-', '_')}"
    made = Pieces(folder, owner, source_cluster, name)
    execute(source_cluster, f"CREATE DATABASE {name}")
    execute(source_cluster, "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) AS n", name)
    with backup.replication_environment(settings, owner, folder) as environment:
        end = backup.take(made.program("pg_basebackup"), settings, made.backup, owner, environment, print)
        with Session(settings) as session:
            wal.prepare(made.wal, owner, wal.file_of(session, end))
        program = made.program("pg_receivewal")
        with wal.Receiver(program, settings, made.wal, owner, environment, print) as receiver:
            made.point = take(settings_of(source_cluster, name), "first")
            execute(source_cluster, "INSERT INTO t VALUES (0)", name)
            made.later = take(settings_of(source_cluster, name), "later")
            receiver.finish(made.later.lsn)
    wal.complete(made.wal)
    yield made
    for data in folder.glob("data*"):
        private_server.end_on(data)
    shutil.rmtree(folder)
    execute(source_cluster, f"DROP DATABASE {name}")


class Pieces:
    """What a copy is made of. ``recovered`` makes a copy of the copy."""

    point: Point
    later: Point

    def __init__(self, folder: Path, owner: Owner, source: Cluster, database: str) -> None:
        self._folder, self.owner, self.source = folder, owner, source
        self.database = database
        self.backup, self.wal = folder / "backup", folder / "wal"
        self._number = 0

    def program(self, name: str) -> Program:
        return programs.find(name, str(self.source.binaries.bin_dir))

    def copy(self) -> Path:
        self._number += 1
        data = self._folder / f"data{self._number}"
        subprocess.run(["cp", "-a", str(self.backup), str(data)], check=True)
        return data

    def verify(self, data: Path) -> None:
        backup.verify(self.program("pg_verifybackup"), data, self.owner, print)

    def recover(self, point: Point, wal_folder: Path | None = None) -> private_server.PrivateServer:
        """A server on a copy of the backup that was recovered to the point."""
        data = self.copy()
        folders = Folders(data)
        self.owner.folder(folders.work)
        socket = folders.make_socket_folder(Steps(folders, {}), self.owner)
        with Session(settings_of(self.source, "postgres")) as session:
            settings = private_server.source_settings(session)
        bin_dir = self.source.binaries.bin_dir
        server = private_server.PrivateServer(bin_dir, data, folders, socket, self.owner, settings)
        server.configure(recovery.arm(data, self.source.binaries.major, wal_folder or self.wal, point, self.owner))
        recovery.run(server, point)
        return server

    def rows(self, server: private_server.PrivateServer) -> int:
        with Session(server.connection(self.database)) as session:
            return int(session.value("SELECT count(*) FROM public.t"))


def test_the_copy_shows_the_restore_point_and_nothing_later(pieces: Pieces) -> None:
    for point, rows in ((pieces.point, 1000), (pieces.later, 1001)):
        server = pieces.recover(point)
        assert pieces.rows(server) == rows
        server.end()


def test_what_a_killed_server_or_attempt_has_left_is_ended(pieces: Pieces) -> None:
    """A process that doesn't notice that its server is gone could write beside the next one, which its data directory can't refuse."""
    server = pieces.recover(pieces.point)

    def connect() -> Any:
        return psycopg2.connect(
            host=str(server.socket), port=private_server.PORT, user="postgres", dbname=pieces.database
        )

    with contextlib.closing(connect()) as busy:
        process = busy.get_backend_pid()
        os.kill(process, signal.SIGSTOP)
        postmaster = private_server.postmaster(server.data)
        assert postmaster is not None
        kill([postmaster])
        wait_until("the others end", lambda: private_server.left_over(server.data) == [process])
        server.ready()
        assert process not in private_server.left_over(server.data)
    assert pieces.rows(server) == 1000
    with contextlib.closing(connect()) as earlier:
        server.ready()
        with pytest.raises(psycopg2.OperationalError):
            earlier.cursor().execute("SELECT 1")
    server.end()
    assert private_server.left_over(server.data) == []


def test_a_flipped_bit_and_a_lost_file_are_noticed(pieces: Pieces) -> None:
    data = pieces.copy()
    pieces.verify(data)
    # The table's own file would do as well; any file has a checksum.
    path = max((path for path in (data / "base").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    with path.open("r+b") as file:
        file.seek(5000)
        (byte,) = file.read(1)
        file.seek(5000)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(MigrationError, match=f"checksum mismatch for file .*{path.name}"):
        pieces.verify(data)
    path.unlink()
    with pytest.raises(MigrationError, match=f"{path.name}.* is present in the manifest but not on disk"):
        pieces.verify(data)


def test_a_file_of_wal_that_was_cut_while_it_was_made(pieces: Pieces) -> None:
    """pg_receivewal makes a file as large as WAL's files are, and refuses one that has another size."""
    folder = pieces.wal.with_name("cut")
    settings = settings_of(pieces.source, "postgres")
    first = min(path.name for path in pieces.wal.iterdir())
    cut = folder / f"{first}{wal.PARTIAL}"
    wal.prepare(folder, pieces.owner, first)
    with backup.replication_environment(settings, pieces.owner, pieces.backup.parent) as environment:
        receive = (pieces.program("pg_receivewal"), settings, folder, pieces.owner, environment, print)
        # An attempt before was killed; and this one is ended for its last part.
        os.truncate(cut, 5000)
        wal.prepare(folder, pieces.owner, first)
        with wal.Receiver(*receive) as receiver:
            wait_until("it writes", lambda: any(path.stat().st_size > 5000 for path in folder.iterdir()))
            last = max(folder.iterdir())
            os.truncate(last, 5000)
            receiver.finish(pieces.later.lsn)
    wal.complete(folder)
    server = pieces.recover(pieces.later, folder)
    assert pieces.rows(server) == 1001
    server.end()


def test_lost_wal_is_noticed(pieces: Pieces, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="WAL before it is missing or damaged") as lost:
        pieces.recover(pieces.point, wal_folder=tmp_path)
    assert lost.value.code == "recovery_failed"


def test_a_restore_point_that_is_not_there_is_noticed(pieces: Pieces) -> None:
    with pytest.raises(MigrationError, match="WAL before it is missing or damaged") as wrong:
        pieces.recover(Point("elsewhere", pieces.later.lsn, pieces.point.shows))
    assert wrong.value.code == "recovery_failed"


def test_a_transaction_that_counts_as_committed_too_early_is_noticed(pieces: Pieces) -> None:
    """The snapshot does not show what it did, and its commit is before the restore point."""
    before, after = (int(point.shows.split(":")[0]) for point in (pieces.point, pieces.later))
    early = replace(pieces.later, running=range(before, after))
    with pytest.raises(MigrationError, match="transactions that were running count as committed"):
        pieces.recover(early)


class Halting:
    """Programs of a major version, of which one halts a job: before its work, or after it."""

    def __init__(self, real: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="halting-"))
        self.folder.chmod(0o755)
        self._flags = Path(tempfile.mkdtemp(prefix="halted-"))
        self._flags.chmod(0o777)
        self._real = real
        for program in real.iterdir():
            (self.folder / program.name).symlink_to(program)

    def halt(self, name: str, when: str, only: str = "") -> Path:
        """Let the program halt ``after`` its work, or else before, when its arguments contain ``only``; returns the file that tells so."""
        flag = self._flags / f"{name}-{when}"
        work = f'"{self._real / name}" "$@"'
        halt = f'echo $$ > "{flag}"; exec sleep 600'
        script = f"{work} || exit $?; {halt}" if when == "after" else halt
        (self.folder / name).unlink()
        (self.folder / name).write_text(f'#!/bin/sh\ncase "$*" in *"{only}"*) ;; *) exec {work};; esac\n{script}\n')
        (self.folder / name).chmod(0o755)
        return flag

    def heal(self, name: str) -> None:
        """Let it work as it does."""
        (self.folder / name).unlink()
        (self.folder / name).symlink_to(self._real / name)

    def remove(self) -> None:
        for folder in (self.folder, self._flags):
            shutil.rmtree(folder)


@pytest.fixture
def halting(source_cluster: Cluster) -> Iterator[Halting]:
    made = Halting(source_cluster.binaries.bin_dir)
    yield made
    made.remove()


def wait_until_halted(folder: Path, flag: Path) -> None:
    wait_until("a program halts, or the job ended", lambda: flag.exists() or job.read_state(folder).status != "running")
    assert flag.exists(), json.dumps(job.read_state(folder).result, indent=1)


class Waiting:
    """Statements on the copy that wait: those that call the function ``waits``, while there is a file."""

    def __init__(self, source: Cluster, database: str) -> None:
        # Every server's user can read this folder.
        self._file = source.directory / f"{database}.wait"
        function = (
            "CREATE FUNCTION waits(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN "
            # Only the server on a copy listens nowhere.
            f"WHILE current_setting('listen_addresses') = '' AND (pg_stat_file('{self._file}', true)).size IS NOT NULL "
            "LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN t; END $$"
        )
        execute(source, function, database)

    def begin(self) -> None:
        self._file.touch()

    def end(self) -> None:
        self._file.unlink()


class Copy:
    """The server on a copy that a job works on."""

    def __init__(self, target: Cluster, options: dict[str, Any]) -> None:
        self.data = target.data_directory.with_name("data_incoming_test")
        self.work = target.data_directory.with_name("data_incoming_test_work")
        self.job = job.job_folder(options["state_dir"], "test", "restore")
        self._database = options["database"]

    @property
    def done(self) -> dict[str, Any]:
        """The completed steps."""
        path = self.work / "steps.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["done"] if path.exists() else {}
        return found

    def ask(self, statement: str) -> list[Any]:
        """The first column of what a statement returns; empty while the server doesn't answer, and where it ends our session, too."""
        socket = self.done.get("socket") or str(self.work / "socket")
        try:
            with contextlib.closing(
                psycopg2.connect(host=socket, port=private_server.PORT, user="postgres", dbname=self._database)
            ) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    return [row[0] for row in cursor.fetchall()] if cursor.description else []
        except psycopg2.OperationalError:
            return []

    def wait_for(self, condition: str) -> int:
        """The server's process that does this, as soon as there is one."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = self.ask(
                f"SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active' AND {condition}"
            )
            return bool(found) or job.read_state(self.job).status != "running"

        wait_until(condition, look)
        assert len(found) == 1, json.dumps(job.read_state(self.job).result, indent=1)
        return int(found[0])

    def kill_job(self) -> None:
        kill(processes.of_job(self.job))
        wait_until("the job ended", lambda: not processes.of_job(self.job))

    def kill_server(self, but: int) -> None:
        """Its main process alone: one of the others is as busy as one that computes, and doesn't notice."""
        os.kill(but, signal.SIGSTOP)
        postmaster = private_server.postmaster(self.data)
        assert postmaster is not None
        kill([postmaster])
        wait_until("it is dead", lambda: private_server.left_over(self.data) == [but])


# Program, when it is killed (with the job, unless alone), its arguments, and what the next attempt does not do again.
KILLS = [
    ("pg_basebackup", "after", "--pgdata", ()),
    ("pg_verifybackup", "before", "--no-parse-wal", ("backup",)),
    ("pg_verifybackup", "alone", "--no-parse-wal", ("backup",)),
    ("pg_ctl", "before", "start", ("backup", "evidence")),
    ("pg_ctl", "after", "start", ("backup", "evidence")),
    ("pg_ctl", "before", "stop", ("backup", "evidence")),
    ("pg_controldata", "before", "", ("backup", "evidence")),
]


@pytest.mark.parametrize("kills", [KILLS[::2], rarely(KILLS)], ids=["some", "all"])
def test_a_copy_that_is_killed_anywhere_is_resumed(
    make_options: Callable[..., dict[str, Any]],
    halting: Halting,
    source_cluster: Cluster,
    target_cluster: Cluster,
    kills: list[tuple[str, str, str, tuple[str, ...]]],
) -> None:
    """In one copy to a newer major, while couch2pg writes: each attempt gets to the next place."""
    options = {**make_options(target_cluster), "server_bin_dir": str(halting.folder)}
    waiting = Waiting(source_cluster, options["database"])
    execute(source_cluster, "CREATE TABLE slow AS SELECT 'a' AS t", options["database"])
    execute(source_cluster, "CREATE INDEX ON slow (waits(t))", options["database"])
    folder = job.job_folder(options["state_dir"], "test", "restore")
    writing = Writer(lambda: source_cluster.connect(options["database"]), pause=0.01)
    with BackgroundWriter(writing):
        for name, when, only, kept in kills:
            flag = halting.halt(name, when, only)
            started = run_module("pg_physical", {**options, "job_wait": 0})
            assert started["job"]["status"] == "running", started
            wait_until_halted(folder, flag)
            kill([*([] if when == "alone" else processes.of_job(folder)), int(flag.read_text())])
            wait_until("the job ended", lambda: not processes.of_job(folder))
            halting.heal(name)
            steps = json.loads((target_cluster.directory / "data_incoming_test_work" / "steps.json").read_text())
            assert ("backup" in kept, "evidence" in kept) == ("backup" in steps["done"], "point" in steps["done"]), name
        if kills == KILLS:
            _kill_analysis(Copy(target_cluster, options), waiting, options)
        done = run_module("pg_physical", options)
    assert not done.get("failed"), done
    assert "backup" not in done["section_seconds"]
    assert done["server_version"] >= 180000
    refreshed = run_module("matview_refresh", of_copy(done, options))
    assert not refreshed.get("failed"), refreshed
    verified = verify(done, options)
    assert not verified.get("failed"), verified
    assert not run_module("pg_physical", options)["changed"]


@pytest.mark.long
@pytest.mark.parametrize("newer", [False, True])
def test_a_copy_that_is_killed_at_any_moment_is_completed(
    make_options: Callable[..., dict[str, Any]],
    source_cluster: Cluster,
    same_major: Cluster,
    target_cluster: Cluster,
    tmp_path: Path,
    newer: bool,
) -> None:
    """Before each change of a file, and before and after each statement that writes; nothing but the copy is there in the end."""
    target = target_cluster if newer else same_major
    options = make_options(target)
    restart = {name: value for name, value in options.items() if name.startswith(("login_", "migration", "state"))}
    restart |= {"which": "incoming", "database": options["database"], "incoming": options["database"]}
    log = tmp_path / "log"
    others = f"^(?!{target.directory}/data_incoming|{tmp_path})|{IGNORED}|/current_logfiles|{log}"

    def copy(at: int) -> tuple[dict[str, Any], list[str]]:
        log.write_text("", encoding="utf-8")
        result = run_module("pg_physical", options, environment=killed_at(at, JOB, Path("/"), others, log))
        return result, log.read_text(encoding="utf-8").splitlines()

    def remove(done: dict[str, Any]) -> None:
        discarded = run_module("database_drop", restart)
        assert discarded["dropped"] == done["data_directory"], discarded
        assert not list(target.directory.glob("data_incoming_*"))
        assert not list(tmp_path.glob("staging/*.partial"))
        shutil.rmtree(tmp_path / "staging")

    whole, changes = copy(0)
    remove(whole)
    for at in every(changes):
        killed, seen = copy(at)
        where = f"{at}: {seen[-1]}"
        assert killed.get("code") in ("job_died", "job_not_started", None), (where, killed)
        done = run_module("pg_physical", options)
        assert not done.get("failed"), (where, done)
        work = {path.name for path in Path(done["work_folder"]).iterdir()}
        assert not {name for name in work if name.endswith(".part") or name == "passfile"}, (where, work)
        refreshed = run_module("matview_refresh", of_copy(done, options))
        verified = verify(done, options)
        assert [result.get("failed") for result in (refreshed, verified)] == [None, None], (where, refreshed, verified)
        remove(done)
        assert column(source_cluster, "SELECT slot_name FROM pg_replication_slots") == [], where


def _kill_analysis(copy: Copy, waiting: Waiting, options: dict[str, Any]) -> None:
    """Kill the job, then the job and its server, while the tables are analyzed after pg_upgrade."""
    waiting.begin()
    analyzer = 0
    for _attempt in range(2):
        run_module("pg_physical", {**options, "job_wait": 0})
        # What the attempt that was killed had begun is ended: else this one would wait for its lock.
        condition = f"query LIKE 'ANALYZE%' AND wait_event_type = 'Timeout' AND pid <> {analyzer}"
        analyzer = copy.wait_for(condition)
        copy.kill_job()
    copy.kill_server(analyzer)
    waiting.end()
    assert "upgraded" in copy.done


@pytest.fixture
def of_distribution() -> Iterator[tuple[Cluster, Cluster]]:
    """Two servers with amcheck and ICU; the first one allows prepared transactions."""
    with contextlib.ExitStack() as stack:
        clusters = []
        for settings in ({"max_prepared_transactions": "5"}, {}):
            folder = Path(tempfile.mkdtemp(prefix="dist-", dir=places.work_folder("clusters")))
            places.server_account().give(folder)
            clusters.append(stack.enter_context(Cluster.create(folder, binaries.of_distribution(), settings=settings)))
            places.server_account().give(folder)
        yield clusters[0], clusters[1]
        remove_copy(clusters[1])


@pytest.mark.long
def test_a_migration_over_a_compressed_line(
    of_distribution: tuple[Cluster, Cluster], make_migration: Callable[..., Any]
) -> None:
    """What the source can't do is refused before anything is done."""
    source, target = of_distribution
    execute(target, f"ALTER ROLE postgres PASSWORD '{source.password}'")
    target.password = source.password
    target.remember("postgres", target.password)
    migration: Migration = make_migration(source, target)
    migration.bin_dir = source.binaries.bin_dir
    data = target.data_directory
    stop, start = placement.hand_commands(data.owner(), data, data / "postgresql.conf", target.binaries.bin_dir)
    # The method may be a variable of the target alone.
    migration.host_variables["target"] = {"couch2pg_method": "physical"}
    migration.variables.update(
        couch2pg_physical_commands={"stop": stop, "start": start}, couch2pg_physical_compression="client-zstd"
    )
    assert "set it to one of none, server-gzip, server-lz4, server-zstd" in migration.fail()
    migration.variables["couch2pg_physical_compression"] = "server-zstd:3"
    migration.succeed()
    spec = json.loads((migration.state / "jobs" / "restore" / "spec.json").read_text(encoding="utf-8"))
    assert spec["parameters"]["compression"] == "server-zstd:3"
    assert not (migration.state / "jobs" / "dump").exists()
    assert column(target, "SELECT count(*) FROM pg_matviews WHERE NOT ispopulated", migration.database) == [0]


SORTED_OTHERWISE = """
CREATE COLLATION german (PROVIDER = icu, LOCALE = 'de'); CREATE TABLE texts (t text COLLATE german); INSERT INTO texts VALUES ('a');
CREATE INDEX a_fast ON texts (t); CREATE INDEX b_slow ON texts (waits(t) COLLATE german);
UPDATE pg_collation SET collversion = '0.9' WHERE collname = 'german'; CREATE TABLE numbers (n int PRIMARY KEY);
"""


@pytest.mark.long
def test_a_copy_that_is_killed_while_its_indexes_are_rebuilt_and_checked(
    of_distribution: tuple[Cluster, Cluster], make_migration: Callable[..., Any], tmp_path: Path
) -> None:
    """With the server on it. What comes next repeats nothing of that, and says so. The line is compressed."""
    source, target = of_distribution
    options = {**options_of(make_migration(source, target), tmp_path), "compression": "server-lz4"}
    options["bin_dir"] = str(source.binaries.bin_dir)
    waiting = Waiting(source, options["database"])
    execute(source, SORTED_OTHERWISE, options["database"])
    copy = Copy(target, options)
    fast, slow = (f"{options['database']}: public.{name}" for name in ("a_fast", "b_slow"))
    files = "SELECT pg_relation_filenode('a_fast')"
    waiting.begin()
    run_module("pg_physical", {**options, "job_wait": 0})
    rebuilding = copy.wait_for("query LIKE 'REINDEX%' AND wait_event_type = 'Timeout'")
    wait_until("the other one is rebuilt", lambda: copy.done.get("reindexed") == [fast])
    rebuilt = copy.ask(files)
    copy.ask("BEGIN; LOCK TABLE numbers; PREPARE TRANSACTION 'held'")
    copy.kill_job()
    copy.kill_server(rebuilding)
    waiting.end()
    run_module("pg_physical", {**options, "job_wait": 0})
    checking = copy.wait_for("query LIKE '%bt_index_check%' AND wait_event_type = 'Lock'")
    assert copy.done["reindexed"] == [fast, slow]
    assert copy.ask(files) == rebuilt
    wait_until("others are checked", lambda: copy.done.get("checked"))
    copy.kill_job()
    # Stopped before it gets its lock, or it would notice that its client is gone, and end.
    os.kill(checking, signal.SIGSTOP)
    copy.ask("ROLLBACK PREPARED 'held'")
    copy.kill_server(checking)
    done = run_module("pg_physical", options)
    assert not done.get("failed"), done
    assert done["reindexed"] == [fast, slow]
    assert copy.ask(files) == rebuilt
    log = (copy.job / "log").read_text(encoding="utf-8")
    assert "Resumed: 2 indexes rebuilt already." in log
    assert re.search(r"Resumed: \d+ index(es)? checked already\.", log)
    assert copy.ask(
        "SELECT 1 FROM pg_collation WHERE collversion = pg_collation_actual_version(oid) AND collname = 'german'"
    ) == [1]
    verified = verify(done, options)
    assert not verified.get("failed"), verified
    assert not run_module("pg_physical", options)["changed"]


def by_hand(target: Cluster) -> dict[str, Any]:
    """The variables of the method for a server that nobody but us stops and starts."""
    data = target.data_directory
    stop, start = placement.hand_commands(data.owner(), data, data / "postgresql.conf", target.binaries.bin_dir)
    return {"couch2pg_method": "physical", "couch2pg_physical_commands": {"stop": stop, "start": start}}


def stopped(migration: Migration, run: Background, job_name: str) -> str:
    """What the playbook status says of the job of a run; then the playbook cancel stops it."""
    found = re.findall(rf"running  ({job_name}: .*)\"", migration.run("status").output)
    cancelled = migration.run("cancel")
    assert (cancelled.code, f"Stopped: {job_name}" in cancelled.output) == (0, True), cancelled.output
    assert "was stopped by a signal. Run again to continue." in run.end().message
    assert f"failed   {job_name} on target" in migration.run("status").output
    assert processes.of_job(migration.state / "jobs" / job_name) == []
    return str(found[0])


@pytest.mark.long
def test_status_cancel_and_spare(
    newer_target: Cluster, make_migration: Callable[..., Any], source_cluster: Cluster, halting: Halting
) -> None:
    """A migration is stopped in each part of the copy. Each time the next run goes on from what is done."""
    migration: Migration = make_migration(source_cluster, newer_target)
    migration.variables.update(by_hand(newer_target), couch2pg_physical_bin_dir=str(halting.folder))
    migration.variables["couch2pg_rate_limit"] = "20KB"
    folder = migration.state / "jobs" / "restore"
    run = Background(migration)
    wait_until(
        "some of the backup is there",
        lambda: "(" in progress_line.describe(job.read_state(folder).progress, time.time()),
    )
    spared = migration.run("spare", "-e", "couch2pg_rate_limit=30KB")
    assert (spared.code, spared.changed) == (0, 1), spared.output
    assert (limits.load(folder).rate_limit, '"rate_limit": 30720' in spared.output) == (30720, True)
    refused = migration.run("migrate", "-e", "couch2pg_restart_from=restore")
    error = migration.record["phases"]["restore"]["error"]
    assert (error["code"], error["msg"]) == ("job_running", refused.message), refused.output
    assert re.match(r"restore: \[1/6\] backup \| .* of about .* %\)", stopped(migration, run, "restore"))
    migration.variables["couch2pg_rate_limit"] = "0"
    copy = Copy(newer_target, {"database": migration.database, "state_dir": migration.state.parent})
    parts = [
        ("pg_verifybackup", "--no-parse-wal", "digests", ["backup"]),
        ("pg_ctl", "start", "recovery", ["backup", "point"]),
        ("pg_controldata", "", "upgrade", ["backup", "point", "recovered"]),
    ]
    for program, only, step, kept in parts:
        flag = halting.halt(program, "before", only)
        run = Background(migration)
        wait_until("a program halts", lambda halted=flag, of=run: halted.exists() or of.process.poll() is not None)
        assert re.match(rf"restore: \[\d/\d\] {step} \|", stopped(migration, run, "restore"))
        halting.heal(program)
        assert [name for name in ("backup", "point", "recovered") if name in copy.done] == kept
        assert private_server.left_over(copy.data) == []
    assert "No job of this host reads the database on the source." in migration.run("spare").output
    migration.succeed()
    after = migration.run("status").output
    assert "done     preflight, dump, restore, refresh, verify, promote" in after
    assert f"promoted {migration.database}" in after
    assert "Nothing ran here." in migration.run("cancel").output


# The package of 14 has the server alone. Both versions have the same control file, so the program of 15 shows what it says.
RESETWAL = """#!/bin/sh
case "$1" in -V | --version) echo 'pg_resetwal (PostgreSQL) 14.23'; exit;; esac
for data; do :; done
folder=$(mktemp --directory) && mkdir "$folder/global" && echo 15 >"$folder/PG_VERSION"
cp "$data/global/pg_control" "$folder/global" && ln --symbolic "$data/pg_wal" "$folder/pg_wal"
{} --dry-run "$folder" && rm --recursive "$folder"
"""


@pytest.fixture
def before_18() -> Iterator[tuple[Cluster, Cluster, Path]]:
    """A source of 14, a target of 15, and a folder with all programs of 14 that pg_upgrade needs."""
    with contextlib.ExitStack() as stack:
        clusters = []
        for found in (binaries.binaries(14), binaries.of_distribution()):
            folder = Path(tempfile.mkdtemp(prefix="to15-", dir=places.work_folder("clusters")))
            places.server_account().give(folder)
            clusters.append(stack.enter_context(Cluster.create(folder, found)))
            places.server_account().give(folder)
        source, target = clusters
        bin_dir = source.directory / "programs" / source.binaries.bin_dir.name
        shutil.copytree(source.binaries.bin_dir.parent, bin_dir.parent, symlinks=True)
        (bin_dir / "pg_controldata").symlink_to(target.binaries.program("pg_controldata"))
        (bin_dir / "pg_resetwal").write_text(RESETWAL.format(target.binaries.program("pg_resetwal")))
        (bin_dir / "pg_resetwal").chmod(0o755)
        yield source, target, bin_dir
        remove_copy(target)


@pytest.mark.long
def test_an_analysis_that_is_killed_before_statistics_are_kept(
    before_18: tuple[Cluster, Cluster, Path],
    make_migration: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pg_upgrade to a version before 18 keeps none, so every table is analyzed, and again after each kill."""
    source, target, bin_dir = before_18
    if source.binaries.library_dir:
        monkeypatch.setenv("LD_LIBRARY_PATH", str(source.binaries.library_dir))
    options = {**options_of(make_migration(source, target), tmp_path), "server_bin_dir": str(bin_dir)}
    options["bin_dir"] = str(target.binaries.bin_dir)
    waiting = Waiting(source, options["database"])
    execute(source, "CREATE TABLE slow AS SELECT 'a' AS t", options["database"])
    execute(source, "CREATE INDEX ON slow (waits(t))", options["database"])
    copy = Copy(target, options)
    _kill_analysis(copy, waiting, options)
    done = run_module("pg_physical", options)
    assert not done.get("failed"), done
    assert done["server_version"] // 10000 == target.binaries.major < 18
    log = (copy.job / "log").read_text(encoding="utf-8")
    assert "an earlier analysis of the tables was interrupted, so it begins again" in log
    analyzed = (
        "SELECT count(*) FROM pg_statistic AS s JOIN pg_class AS c ON c.oid = s.starelid WHERE c.relname = 'couchdb'"
    )
    assert copy.ask(analyzed)[0] > 0
    verified = verify(done, options)
    assert not verified.get("failed"), verified
    assert not run_module("pg_physical", options)["changed"]


def test_a_copy_by_a_role_that_is_no_superuser(
    make_options: Callable[..., dict[str, Any]], source_cluster: Cluster, same_major: Cluster
) -> None:
    """With what preflight and docs/physical.md ask of it."""
    options = make_options(same_major)
    password = source_cluster.password
    execute(
        source_cluster,
        f"CREATE ROLE backups LOGIN REPLICATION PASSWORD '{password}' IN ROLE pg_read_all_data",
    )
    source_cluster.remember("backups", password)
    options["source"] = {**options["source"], "login_user": "backups"}
    try:
        execute(source_cluster, f"GRANT CONNECT ON DATABASE {options['database']} TO backups")
        refused = run_module("pg_physical", options, check=True)
        assert refused["code"] == "copy_rights", refused
        execute(source_cluster, " ".join(re.findall(r"GRANT [^;]+;", refused["msg"])), options["database"])
        done = run_module("pg_physical", options)
        assert not done.get("failed"), done
        assert not run_module("matview_refresh", of_copy(done, options)).get("failed")
        verified = verify(done, options)
        assert not verified.get("failed"), verified
    finally:
        execute(source_cluster, "DROP OWNED BY backups", options["database"])
        execute(source_cluster, "DROP ROLE backups")
