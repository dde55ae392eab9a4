# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work that was interrupted: the next run goes on from what is done, and the evidence still matches."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host import files, processes
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.program_environment import program_environment
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.restore import steps as restore_steps
from support import driver, seed
from support.background import (
    Background,
    check_completes,
    check_nothing_is_left,
    check_nothing_is_there,
    kill,
    running,
    wait_until,
)
from support.cases import rarely
from support.clusters import Cluster
from support.holding import held, held_run, killed, release
from support.migration import Migration, column, execute
from support.modules import run_module

WRONG_CLOCK = Path(__file__).parents[1] / "support" / "wrong_clock"


def log(migration: Migration, kind: str) -> str:
    return (migration.state / "jobs" / kind / "log").read_text(encoding="utf-8")


def result(migration: Migration, phase: str) -> dict[str, Any]:
    found: dict[str, Any] = migration.record["phases"][phase]["result"]
    return found


def recorded(migration: Migration) -> set[str]:
    """The phases that the record knows of already."""
    return set(migration.record["phases"]) if (migration.state / "record.json").exists() else set()


@pytest.mark.parametrize(("part", "done"), [rarely("data", ["pre-data"]), rarely("last", ["pre-data", "data"])])
def test_tables_that_are_loaded_are_not_loaded_again(migration: Migration, part: str, done: list[str]) -> None:
    assert "ended without a result" in driver.end(migration, killed(migration, part))
    check_nothing_is_there(migration)
    check_completes(migration)
    assert result(migration, "restore")["resumed_after"] == done
    assert 'processing data for table "public.zz_slow"' in log(migration, "restore")
    assert 'processing data for table "public.couchdb"' not in log(migration, "restore")


def test_what_counts_as_done_survives_a_crash(
    target_cluster: Cluster, fresh_database: Callable[[Cluster], str]
) -> None:
    """However shortly before the crash it was done."""
    settings = ConnectionSettings(
        fresh_database(target_cluster), target_cluster.host, target_cluster.port, password=target_cluster.password
    )
    with Session(settings) as session:
        session.execute("SET synchronous_commit = off")
        session.execute("CREATE TABLE public.t AS SELECT n FROM pg_catalog.generate_series(1, 100) AS n")
        restore_steps.make_durable(settings)
        target_cluster.stop("immediate")
    target_cluster.start()
    with Session(settings) as session:
        assert session.value("SELECT pg_catalog.count(*) FROM public.t") == 100


@pytest.mark.parametrize("broken", [rarely("job"), rarely("pg_restore"), "postgresql"])
def test_indexes_are_built_without_loading_again(migration: Migration, broken: str) -> None:
    kind = held(migration, "indexes")
    mine = processes.of_job(migration.state / "jobs" / kind)
    if broken == "postgresql":
        # Commits don't wait for the disk here: without this, the crash could take the indexes built just before it.
        execute(migration.target, "CHECKPOINT")
        migration.target.stop("immediate")
    else:
        kill([pid for pid in mine if broken == "job" or processes.name(pid) == broken])
    assert "again" in driver.end(migration, kind)
    if broken == "postgresql":
        migration.target.start()
    release(migration)
    check_nothing_is_there(migration)
    # The options of a half-done database can't change between attempts; the error says how to start again.
    migration.variables["couch2pg_role_map"] = {"couch2pg": "another"}
    sentence = driver.run_phase(migration, "restore")["msg"]
    assert "role_map was {}, is now {'couch2pg': 'another'}" in sentence
    assert "couch2pg_restart_from=restore" in sentence
    del migration.variables["couch2pg_role_map"]
    # Nor is it guessed what was done.
    steps = migration.state / "restore_steps.json"
    known = steps.read_text(encoding="utf-8")
    steps.write_text("{", encoding="utf-8")
    assert "restore_steps.json is damaged" in driver.run_phase(migration, "restore")["msg"]
    steps.write_text(known, encoding="utf-8")
    check_nothing_is_there(migration)
    check_completes(migration)
    assert result(migration, "restore")["resumed_after"] == ["pre-data", "data"]
    assert "processing data for table" not in log(migration, "restore")
    # Those that were built before are known, and nothing else is accepted.
    kinds = {message["kind"] for message in result(migration, "restore")["harmless_messages"]}
    assert "built_before" in kinds


def test_a_restart_that_is_refused_is_recorded_with_its_cause(migration: Migration) -> None:
    """It fails before the role's own module, whose result the record would have."""
    kind = held(migration, "indexes")
    run = migration.run("migrate", "-e", "couch2pg_restart_from=restore")
    assert run.code, run.output
    error = migration.record["phases"]["restore"]["error"]
    assert (error["code"], error["msg"]) == ("job_running", run.message)
    assert "What happened, and what to do: " in run.output
    assert run.message.split(".")[0] in (migration.folder / "records" / "test.md").read_text(encoding="utf-8")
    release(migration)
    assert driver.end(migration, kind) == ""


@pytest.mark.long
def test_materialized_views_that_are_populated_are_kept(migration: Migration) -> None:
    assert "ended without a result" in driver.end(migration, killed(migration, "matviews"))
    check_nothing_is_there(migration)
    check_completes(migration)
    done_before = {entry["matview"]: entry["done_before"] for entry in result(migration, "refresh")["matviews"]}
    assert done_before.pop("public.zz_slow_view") is False
    assert any(done_before.values())


def test_a_dump_that_was_interrupted_says_that_it_begins_again(migration: Migration) -> None:
    migration.variables["couch2pg_rate_limit"] = "10KB"
    driver.start(migration, "dump")
    wait_until("the dump runs", lambda: running(migration, "dump") and list(migration.folder.glob("staging/*.partial")))
    kill(processes.of_job(migration.state / "jobs" / "dump"))
    assert "ended without a result" in driver.end(migration, "dump")
    migration.variables["couch2pg_rate_limit"] = "0"
    driver.reach(migration, "transfer")
    check_nothing_is_left(migration)
    assert "Its snapshot is lost, so the dump starts from the beginning." in log(migration, "dump")


def test_an_archive_that_was_finished_is_not_made_again(migration: Migration) -> None:
    """The dump was killed when the archive had its name already, and nothing was told of it."""
    assert driver.reach(migration, "dump")["dump"]["changed"]
    before = (migration.archive / "manifest.json").stat()
    told = migration.state / "jobs" / "dump" / "result.json"
    first = json.loads(told.read_text(encoding="utf-8"))["value"]
    told.unlink()
    driver.reach(migration, "dump")
    assert (migration.archive / "manifest.json").stat() == before
    second = json.loads(told.read_text(encoding="utf-8"))["value"]
    assert {name for name in first if first[name] != second[name]} <= {"started_at", "ended_at"}
    assert "had finished the archive" in log(migration, "dump")
    # An archive of which nothing is noted is still refused.
    told.unlink()
    (migration.state / "dump.json").unlink()
    assert "is not the finished archive of this job" in driver.run_phase(migration, "dump")["msg"]
    # One that lacks only its checksums, as if the job had been killed while it hashed, needs its snapshot no longer.
    half_done = migration.archive.with_name(f"{migration.name}.partial")
    migration.archive.rename(half_done)
    (half_done / ".half-done").touch()
    (half_done / "manifest.json").unlink()
    told.unlink()
    evidence = (half_done / "evidence.json").read_bytes()
    driver.reach(migration, "transfer")
    assert "only the checksums are missing" in log(migration, "dump")
    assert (migration.archive / "evidence.json").read_bytes() == evidence


@pytest.mark.long
def test_what_is_not_known_to_be_its_own_is_not_resumed(migration: Migration) -> None:
    """Only the database that the restore created counts, and only a whole list of what it did; else it begins again."""
    driver.reach(migration, "restore")
    steps = migration.state / "restore_steps.json"
    known = json.loads(steps.read_text(encoding="utf-8"))

    def resumed_after() -> list[str]:
        # As if the job had been killed in its last moment.
        (migration.state / "jobs" / "restore" / "result.json").unlink()
        restored = driver.run_phase(migration, "restore")
        assert restored["changed"], restored
        found: list[str] = restored["resumed_after"]
        return found

    assert resumed_after() == ["pre-data", "data", "post-data"]
    name = f"{migration.database}_incoming"
    execute(migration.target, f"DROP DATABASE {name} WITH (FORCE)")
    execute(migration.target, f"CREATE DATABASE {name}")
    assert resumed_after() == []
    for content in ([], {"of": known["of"]}, {"done": {"data": True}}):
        steps.write_text(json.dumps(content), encoding="utf-8")
        assert resumed_after() == [], content
    check_completes(migration)


@pytest.mark.long
def test_a_function_gets_its_path_when_all_else_is_restored(migration: Migration) -> None:
    """A view that can't be refreshed is found last; the answer to it doesn't cost the restore."""
    database = migration.database
    seed.drop_database(migration.source, database)
    seed.seed(migration.source, database, documents=400, huge=False, unsafe_function=True)
    play = migration.folder / "without preflight.yml"
    play.write_text(
        "- {hosts: couch2pg_source, gather_facts: false, roles: [cht.couch2pg.dump]}\n"
        "- hosts: couch2pg_target\n  gather_facts: false\n"
        "  roles: [cht.couch2pg.transfer, cht.couch2pg.restore, cht.couch2pg.refresh, cht.couch2pg.verify]\n",
        encoding="utf-8",
    )
    playbook = str(play.with_suffix(""))
    assert "Let the restore set the function's search_path on the target" in migration.fail(playbook=playbook)
    migration.variables["couch2pg_function_search_path"] = {"public.area_population(text)": "public, pg_temp"}
    again = migration.run(playbook)
    assert again.code == 0, again.output
    assert result(migration, "restore")["resumed_after"] == ["pre-data", "data", "post-data"]
    # What is verified doesn't change any more.
    migration.variables["couch2pg_function_search_path"] = {"public.area_population(text)": "pg_temp, public"}
    assert (
        "is verified already, without the couch2pg_function_search_path of public.area_population(text)"
        in migration.fail(playbook=playbook)
    )


def test_rows_of_an_extension_are_loaded_again(
    target_cluster: Cluster,
    fresh_database: Callable[[Cluster], str],
    client_dir: Path,
    extension_folder: Path,
    tmp_path: Path,
) -> None:
    """They lie among those that the extension itself has brought, as in PostGIS's spatial_ref_sys."""
    (extension_folder / "refs.control").write_text("default_version = '1'\n", encoding="utf-8")
    (extension_folder / "refs--1.sql").write_text(
        "CREATE TABLE refs (id int PRIMARY KEY, ours bool); INSERT INTO refs VALUES (1, false), (2, false);\n"
        "CREATE TABLE layers (ref int REFERENCES refs);\n"
        "SELECT pg_catalog.pg_extension_config_dump('refs', 'WHERE ours');\n"
        "SELECT pg_catalog.pg_extension_config_dump('layers', '');\n",
        encoding="utf-8",
    )
    settings = ConnectionSettings(
        fresh_database(target_cluster), target_cluster.host, target_cluster.port, password=target_cluster.password
    )
    passfile = tmp_path / "passfile"
    passfile.touch(mode=0o600)
    passfile.write_text(settings.passfile_line(), encoding="utf-8")
    environment, archive = program_environment(settings, passfile), tmp_path / "archive"

    def program(name: str, *words: object) -> str:
        command = [client_dir / name, f"--dbname={settings.conninfo()}", *map(str, words)]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    with Session(settings) as session:
        session.execute("CREATE EXTENSION refs SCHEMA public")
        session.execute("INSERT INTO public.refs VALUES (3, true)")
        session.execute("INSERT INTO public.layers VALUES (3)")
        program("pg_dump", "--format=custom", f"--file={archive}")
        listed = subprocess.run(
            [client_dir / "pg_restore", "--list", archive], check=True, stdout=subprocess.PIPE, text=True
        )
        listing = listed.stdout.splitlines()
        restore_steps.empty_extensions(session, listing)
        assert session.value("SELECT pg_catalog.count(*) FROM public.layers") == 0
        rows = "SELECT pg_catalog.array_agg(id ORDER BY id) FROM public.refs"
        assert session.value(rows) == [1, 2]
        program("pg_restore", "--section=data", archive)
        assert session.value(rows) == [1, 2, 3]
        session.execute("CREATE RULE keep AS ON DELETE TO public.layers DO INSTEAD NOTHING")
        with pytest.raises(MigrationError, match=r"Rows of public\.refs, public\.layers, .* can't be deleted"):
            restore_steps.empty_extensions(session, listing)


@pytest.mark.parametrize(
    "kind", [rarely("dump"), rarely("archive_check"), rarely("restore"), rarely("refresh"), rarely("verify")]
)
def test_the_controller_is_killed(migration: Migration, kind: str) -> None:
    """The job goes on without it; the next run joins it, or finds it done."""
    run = Background(migration)
    wait_until(f"{kind} has begun", (migration.state / "jobs" / kind / "spec.json").exists)
    run.kill()
    check_nothing_is_there(migration)
    # The whole again, or what is left of it.
    check_completes(migration, whole=kind != "restore")
    # Files are checked as a part of the transfer.
    phase = "transfer" if kind == "archive_check" else kind
    begun = [event for event in migration.record["history"] if event["phase"] == phase]
    assert [event["status"] for event in begun] == ["done"]


@pytest.mark.long
@pytest.mark.parametrize("renamed", [False, True])
def test_the_controller_is_killed_while_it_promotes(migration: Migration, renamed: bool) -> None:
    """While the names are changed, when all of it is taken back; and when they are changed, but not recorded yet."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'ALTER DATABASE%' AND wait_event_type = 'Lock'"
    with ExitStack() as stack, ExitStack() as before:
        # However late this process gets to it, the promotion doesn't begin before.
        before.enter_context(files.lock(migration.state / "promote.lock"))
        run = Background(migration)
        wait_until("it is verified", lambda: "verify" in recorded(migration))
        if renamed:
            stack.enter_context(files.lock(migration.state / "record.lock"))
            before.close()
            wait_until("it has its name", lambda: migration.database in migration.databases())
        else:
            session = stack.enter_context(closing(migration.target.connect()))
            session.autocommit = False
            session.cursor().execute("LOCK TABLE pg_database IN SHARE MODE")
            before.close()
            wait_until("it is renamed", lambda: column(migration.target, waiting))
        run.kill()
        assert "promote" not in recorded(migration)
    if not renamed:
        check_nothing_is_there(migration)
    check_completes(migration, whole=True)
    assert result(migration, "promote")["name"] == migration.database
    assert migration.run().changed == 0


def test_ctrl_c_and_cancel(migration: Migration) -> None:
    """The job goes on without its run. It is stopped at once and cleanly; a second time there is nothing to stop."""
    run, kind = held_run(migration, "indexes")
    run.kill(signal.SIGINT)
    assert running(migration, kind)
    assert "The job on target continues, if it was started. To join it" in run.output
    assert "To stop it: ansible-playbook cht.couch2pg.cancel" in run.output
    assert "running  restore: " in migration.run("status").output
    options = {"migration_id": migration.name, "state_dir": str(migration.folder / "state")}
    assert run_module("job", {**options, "state": "stopped", "kinds": ["dump"]})["stopped"] == []
    assert run_module("job", {**options, "state": "stopped"}, check=True)["stopped"] == ["restore"]
    assert running(migration, kind)
    cancelled = migration.run("cancel")
    assert cancelled.changed > 0
    assert "Stopped: restore" in cancelled.output
    assert "stopped by a signal" in driver.end(migration, kind)
    check_nothing_is_left(migration)
    check_nothing_is_there(migration)
    assert not run_module("job", {**options, "state": "stopped"})["changed"]
    release(migration)
    check_completes(migration)


def test_a_job_that_waits_for_a_lock_is_cancelled(migration: Migration) -> None:
    """Its statement is cancelled first: nothing interrupts a process that waits for its server."""
    driver.reach(migration, "refresh")
    options = {"migration_id": migration.name, "state_dir": str(migration.folder / "state"), "state": "stopped"}
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with closing(migration.target.connect(f"{migration.database}_incoming")) as other:
        other.cursor().execute("BEGIN; LOCK TABLE public.couchdb")
        driver.run_phase(migration, "verify", job_wait=0.0)
        wait_until("verify waits", lambda: column(migration.target, waiting) != [0])
        began = time.monotonic()
        assert run_module("job", options)["stopped"] == ["verify"]
        assert time.monotonic() - began < 20
    assert "stopped by a signal" in driver.end(migration, "verify")
    driver.reach(migration)


@pytest.mark.long
def test_a_lock_on_the_target_is_not_waited_for_in_silence(migration: Migration) -> None:
    """A second run looks at the views that are refreshed, whose definitions name the table."""
    driver.reach(migration, "refresh")
    with closing(migration.target.connect(f"{migration.database}_incoming")) as other:
        other.cursor().execute("BEGIN; LOCK TABLE public.couchdb")
        refused = driver.run_phase(migration, "refresh")
    assert (refused["failed"], refused["code"]) == (True, "locked")
    assert "public.couchdb" in refused["msg"]
    driver.reach(migration)


@pytest.mark.long
def test_a_run_whose_job_is_cancelled(migration: Migration) -> None:
    """It says so; a second time nothing runs any more."""
    run, _kind = held_run(migration, "indexes")
    predicted = migration.run("cancel", "--check")
    assert (predicted.changed > 0, run.process.poll()) == (True, None)
    assert migration.run("cancel").changed > 0
    assert "stopped by a signal" in run.end().message
    assert "failed   restore on target" in migration.run("status").output
    again = migration.run("cancel")
    assert again.changed == 0
    assert "Nothing ran here." in again.output
    release(migration)
    check_completes(migration)
    assert "promoted " in migration.run("status").output


@pytest.mark.long
@pytest.mark.parametrize("days", [-2, 2])
def test_a_clock_that_is_wrong(migration: Migration, days: int) -> None:
    """Interrupted under one clock, completed under another, which stands days before or after it."""
    driver.end(migration, killed(migration, "indexes"))
    clock = ["env", f"PYTHONPATH={WRONG_CLOCK}", f"COUCH2PG_CLOCK_SHIFT={days * 86400}"]
    completed = Background(migration, through=clock).end()
    assert completed.code == 0, completed.output
    check_nothing_is_left(migration)
    assert migration.run().changed == 0


@pytest.mark.long
def test_two_hosts_show_their_progress_side_by_side(migration: Migration) -> None:
    seed.seed(migration.target, migration.database, documents=400, huge=False)
    migration.variables["couch2pg_progress_seconds"] = 0.01
    play = """
- hosts: couch2pg_source:couch2pg_target
  gather_facts: false
  tasks:
    - cht.couch2pg.pg_dump: &options
        database: "{{ couch2pg_database }}"
        migration_id: dumps
        staging_dir: "{{ couch2pg_state_dir }}/{{ inventory_hostname }}/archives"
        bin_dir: "{{ couch2pg_bin_dir }}"
        state_dir: "{{ couch2pg_state_dir }}/{{ inventory_hostname }}"
        login_host: "{{ couch2pg_login_host }}"
        login_port: "{{ couch2pg_login_port }}"
        login_password: "{{ couch2pg_login_password }}"
        rate_limit: 2000000
    - cht.couch2pg.pg_dump: *options
      async: 120
      poll: 1
      register: later
    - ansible.builtin.assert:
        that: later.rows == hostvars.source.later.rows
"""
    (migration.folder / "dumps.yml").write_text(play, encoding="utf-8")
    run = migration.run(str(migration.folder / "dumps"), "-v")
    assert run.code == 0, run.output
    assert not run.warnings
    for host in ("source", "target"):
        assert f"  {host} | dump | " in run.output
