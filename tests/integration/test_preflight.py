# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input gets one clear sentence, and every finding is there whatever the others say."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import psycopg2
import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import trial
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.database import other_sessions
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session, server_identity
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document
from ansible_collections.cht.couch2pg.plugins.module_utils.record.promoted import PROMOTED
from ansible_collections.cht.couch2pg.plugins.module_utils.restore import target_database
from support import binaries, seed
from support.clusters import Cluster
from support.migration import Migration, column, environment, execute
from support.modules import login, run_module, with_mount
from support.places import server_account, work_folder
from support.preflight import failures, finding, look, look_at_target

DATABASE = "checked"
Fresh = Callable[[Cluster], str]


@pytest.fixture(scope="module")
def seeded(source_cluster: Cluster) -> Iterator[Cluster]:
    seed.seed(source_cluster, DATABASE, documents=seed.MINIMUM, huge=False)
    yield source_cluster
    seed.drop_database(source_cluster, DATABASE)


@pytest.fixture
def facts(seeded: Cluster, place: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = look(place, seeded, DATABASE)["facts"]
    return found


def test_a_sound_source_has_no_failure(seeded: Cluster, place: dict[str, Any]) -> None:
    found = look(place, seeded, DATABASE)
    assert failures(found) == []
    assert found["ready"] is True
    assert found["changed"] is False
    assert found["facts"]["database"]["name"] == DATABASE
    assert not Path(place["state_dir"]).exists()
    assert look(place, seeded, DATABASE, _ansible_check_mode=True)["ready"] is True


def test_a_sound_target_has_no_failure(target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]) -> None:
    found = look_at_target(place, target_cluster, "not_there_yet", facts)
    assert failures(found) == []
    assert found["ready"] is True
    assert "there is no 'not_there_yet' yet" in finding(found, "target database")["message"]


def test_the_source_itself_is_no_target(seeded: Cluster, place: dict[str, Any], facts: dict[str, Any]) -> None:
    """By another name, too; and nobody is told to replace it."""
    options = {"replace_existing": True, "login_host": "localhost"}
    found = look_at_target(place, seeded, DATABASE, facts, **options)
    assert failures(found) == ["other server"]
    assert finding(found, "other server")["message"].startswith("Source and target are the same server (")
    assert "target database" not in {entry["name"] for entry in found["findings"]}


def test_the_source_is_unreachable(seeded: Cluster, place: dict[str, Any]) -> None:
    found = look(place, seeded, DATABASE, login_port=1)
    assert failures(found) == ["connection"]
    message = finding(found, "connection")["message"]
    assert message.startswith("PostgreSQL at 127.0.0.1:1 can't be reached: ")
    assert message.endswith("Check couch2pg_login_host, couch2pg_login_port and that the server runs, then run again.")
    # Other checks were made all the same.
    assert finding(found, "pg_dump")["status"] == "ok"
    assert finding(found, "staging folder")["status"] == "ok"


def test_the_password_is_wrong(seeded: Cluster, place: dict[str, Any]) -> None:
    found = look(place, seeded, DATABASE, login_password="not-the-password")
    assert finding(found, "connection")["message"] == (
        f"PostgreSQL at 127.0.0.1:{seeded.port} refused the login of 'postgres': check couch2pg_login_user and couch2pg_login_password."
    )


def test_the_role_is_unknown(seeded: Cluster, place: dict[str, Any]) -> None:
    found = look(place, seeded, DATABASE, login_user="nobody_knows")
    # PostgreSQL doesn't tell an unknown role from a wrong password.
    assert "refused the login of 'nobody_knows'" in finding(found, "connection")["message"]


def test_the_database_is_missing(seeded: Cluster, place: dict[str, Any]) -> None:
    found = look(place, seeded, "chtt")
    assert finding(found, "connection")["message"] == (
        f"There is no database 'chtt' at 127.0.0.1:{seeded.port}: check couch2pg_database."
    )


def test_the_table_couchdb_is_missing(source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]) -> None:
    found = look(place, source_cluster, fresh_database(source_cluster))
    assert failures(found) == ["couch2pg"]
    assert finding(found, "couch2pg")["message"] == (
        "The database has no table 'couchdb', so it is not a couch2pg database. Check the database's name."
    )


def test_a_table_may_not_be_read(seeded: Cluster, place: dict[str, Any]) -> None:
    password = seed.create_role(seeded, seed.READER)
    found = look(place, seeded, DATABASE, login_user=seed.READER, login_password=password)
    message = finding(found, "rights")["message"]
    assert "The role 'superset' may not read " in message
    assert "dashboards.alerts" in message
    assert 'run GRANT pg_read_all_data TO "superset";' in message
    # An ordinary role hides nothing of the rest.
    assert finding(found, "encoding")["status"] == "ok"
    assert {entry["name"] for entry in found["findings"]} >= {"server version", "pg_dump", "roles", "tables"}


def test_the_owner_may_dump_its_own_database(seeded: Cluster, place: dict[str, Any]) -> None:
    password = seed.create_role(seeded, seed.OWNER)
    found = look(place, seeded, DATABASE, login_user=seed.OWNER, login_password=password)
    assert failures(found) == []
    # What this role may not read is named, with the statement that lets it.
    assert found["facts"]["preload_libraries"] is None
    granted = finding(found, "libraries")["message"].split("checked: ")[-1].split(" Then")[0]
    assert granted == f'GRANT pg_read_all_settings TO "{seed.OWNER}";'
    execute(seeded, granted)
    try:
        found = look(place, seeded, DATABASE, login_user=seed.OWNER, login_password=password)
    finally:
        execute(seeded, f'REVOKE pg_read_all_settings FROM "{seed.OWNER}"')
    assert found["facts"]["preload_libraries"] == []
    assert "libraries" not in {entry["name"] for entry in found["findings"]}


def test_psycopg2_is_missing(seeded: Cluster, place: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "psycopg2.py").write_text("raise ImportError('No module named psycopg2')\n", encoding="utf-8")
    found = run_module(
        "preflight",
        {**login(seeded, DATABASE), **place, "side": "source"},
        environment={"PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}"},
    )
    assert found["code"] == "psycopg2_missing"
    assert "python3-psycopg2" in found["msg"]


@pytest.fixture
def pooler(seeded: Cluster, tmp_path: Path) -> Iterator[int]:
    """The port of a pgbouncer in front of the source."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "pgbouncer is needed: run tests/tools/system, or apt-get install pgbouncer"
    port = seeded.port + 1000
    folder = work_folder(f"pgbouncer-{os.getpid()}")
    settings = folder / "pgbouncer.ini"
    settings.touch(mode=0o600)
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={seeded.port} user=postgres password={seeded.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\nignore_startup_parameters = extra_float_digits\n",
        encoding="utf-8",
    )
    server_account().give(settings)
    server_account().give(folder)
    with (tmp_path / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(settings)], stdout=log, stderr=log, cwd=folder, **server_account().run_as()
        )
    try:
        wait_for_port(port, process, tmp_path / "pgbouncer.log")
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, dbname=DATABASE, user="postgres").close()
        except psycopg2.OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(log.read_text(encoding="utf-8"))


def test_a_pooler_answers_in_place_of_the_server(pooler: int, seeded: Cluster, place: dict[str, Any]) -> None:
    sentence = (
        f"The server at 127.0.0.1:{pooler} is a connection pooler. Connect to PostgreSQL directly (couch2pg_login_host, "
        "couch2pg_login_port)."
    )
    found = look(place, seeded, DATABASE, login_port=pooler)
    assert finding(found, "pooler")["message"] == sentence
    target = look_at_target(place, seeded, "other", {}, login_port=pooler)
    assert finding(target, "pooler")["message"] == sentence


@pytest.mark.parametrize(("side", "program"), [("source", "pg_dump"), ("target", "pg_restore")])
def test_a_program_is_missing(side: str, program: str, seeded: Cluster, place: dict[str, Any], tmp_path: Path) -> None:
    options = {**login(seeded, DATABASE), **place, "side": side, "incoming": "x", "bin_dir": str(tmp_path)}
    found = run_module("preflight", options)
    assert finding(found, program)["message"] == (
        f"{program} was not found in {tmp_path}. Install PostgreSQL's client programs (Debian: postgresql-client), "
        "or set couch2pg_bin_dir to their folder."
    )


@pytest.mark.parametrize("wanted", ["zstd:3", "lz4:1"])
def test_a_compression_that_the_programs_lack(
    wanted: str, seeded: Cluster, target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Before the dump on the source, and before the archive has come to the target in vain."""
    for refused in (
        look(place, seeded, DATABASE, compression=wanted),
        look_at_target(place, target_cluster, "x", {**facts, "compression": wanted}),
    ):
        assert failures(refused) == ["pg_dump"]
        message = finding(refused, "pg_dump")["message"]
        assert (
            f"built without {wanted.split(':', maxsplit=1)[0]}." in message or f"compressed with {wanted}," in message
        )
        instead = message.split("gzip")[1].rstrip(".")
        found = look(place, seeded, DATABASE, compression=f"gzip{instead}")
        assert failures(found) == []
        assert failures(look_at_target(place, target_cluster, "x", found["facts"])) == []


def test_pg_dump_is_older_than_the_server(
    target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    old = str(binaries.packaged()[16].bin_dir)
    found = look(place, target_cluster, fresh_database(target_cluster), bin_dir=old)
    assert finding(found, "pg_dump")["message"].startswith(
        f"{old}/pg_dump is version 16, older than the server (18), and would refuse to dump it. Install postgresql-client-18 or newer "
    )


def test_pg_restore_is_older_than_pg_dump(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    old = str(binaries.packaged()[16].bin_dir)
    found = look_at_target(place, target_cluster, "x", facts, bin_dir=old)
    assert facts["pg_dump_major"] == 18
    assert finding(found, "pg_restore")["message"].startswith(
        f"{old}/pg_restore is version 16, older than the pg_dump that writes the archive (18)"
    )


def test_the_target_is_older_than_the_source(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    newer = look(place, target_cluster, fresh_database(target_cluster))["facts"]
    found = look_at_target(place, source_cluster, "x", newer)
    assert "server version" in failures(found)
    assert finding(found, "server version")["message"].startswith(
        "The target is PostgreSQL 16, older than the source (18)"
    )


def test_the_oldest_source_and_a_target_that_is_too_old(old_cluster: Cluster, place: dict[str, Any]) -> None:
    name = "oldest"
    seed.seed(old_cluster, name, documents=seed.MINIMUM, huge=False)
    try:
        assert failures(look(place, old_cluster, name)) == []
        found = look_at_target(place, old_cluster, "x", {})
        assert "13 or newer is needed" in finding(found, "server version")["message"]
    finally:
        seed.drop_database(old_cluster, name)


def test_there_is_not_enough_disk(target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]) -> None:
    for name in ("tables", "indexes", "database"):
        facts["sizes"][name] = 10**15
    found = look_at_target(place, target_cluster, "x", facts)
    (name,) = failures(found)
    short = finding(found, name)
    assert name.startswith("disk ")
    assert short["details"]["left_over"] < -(10**15)
    assert f"is {-short['details']['left_over']} bytes short" in short["message"]
    assert short["details"]["mount_point"] in short["message"]


def test_the_guides_rule_asks_for_three_times_the_database(seeded: Cluster, place: dict[str, Any]) -> None:
    found = look(place, seeded, DATABASE, rule="guide")
    disk = next(entry for entry in found["findings"] if entry["name"].startswith("disk "))
    assert disk["details"]["needed"] == 3 * found["facts"]["sizes"]["database"]


def test_the_target_database_is_empty_or_not(
    target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    name = fresh_database(target_cluster)
    empty = look_at_target(place, target_cluster, name, facts)
    assert failures(empty) == []
    assert f"'{name}' is empty" in finding(empty, "target database")["message"]
    execute(target_cluster, "CREATE TABLE somebodys (a int)", name)
    full = look_at_target(place, target_cluster, name, facts)
    assert failures(full) == ["target database"]
    assert finding(full, "target database")["message"] == (
        f"The target already has a database '{name}' that is not empty. Nothing was changed. Check that this is the "
        "right server. To keep that database under another name, set couch2pg_replace_existing to true. If an earlier run "
        f"of this migration made it, set its couch2pg_state_dir again: {place['state_dir']}/m has no record."
    )
    allowed = look_at_target(place, target_cluster, name, facts, replace_existing=True)
    assert failures(allowed) == []
    assert f"will be kept as {name}_replaced_" in finding(allowed, "target database")["message"]


def test_somebody_uses_the_target_database(
    target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    name = fresh_database(target_cluster)
    connection = target_cluster.connect(name, application_name="a dashboard")
    try:
        found = look_at_target(place, target_cluster, name, facts)
        assert failures(found) == []
        assert "used by postgres" in finding(found, "open sessions")["message"]
        # Nor is it hidden from a role that may not see what others do.
        password = seed.create_role(target_cluster, "target_guest")
        execute(target_cluster, "ALTER ROLE target_guest CREATEDB")
        guest = {"login_user": "target_guest", "login_password": password}
        assert finding(look_at_target(place, target_cluster, name, facts, **guest), "open sessions")
    finally:
        connection.close()


def test_a_session_that_is_about_to_end_uses_nothing(target_cluster: Cluster, fresh_database: Fresh) -> None:
    """As our own does, which has just looked into the database: the server still lists it."""
    name = fresh_database(target_cluster)
    where = ConnectionSettings("postgres", target_cluster.host, target_cluster.port, password=target_cluster.password)
    with Session(where) as session:
        connection = target_cluster.connect(name)
        threading.Timer(0.5, connection.close).start()
        assert other_sessions(session, name, patience=0)
        assert other_sessions(session, name) == []


def test_an_incoming_database_of_somebody_else(
    target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    name = fresh_database(target_cluster)
    found = look_at_target(place, target_cluster, "x", facts, incoming=name)
    assert failures(found) == ["incoming database"]
    assert finding(found, "incoming database")["message"].startswith(
        f"The target already has a database '{name}', and this migration didn't make it."
    )
    keep, drop = re.findall(r"\(((?:ALTER|DROP) [^)]+)\)", finding(found, "incoming database")["message"])
    execute(target_cluster, keep)
    assert failures(look_at_target(place, target_cluster, "x", facts, incoming=name)) == []
    execute(target_cluster, drop.replace(name, f"{name}_kept"))


@pytest.mark.parametrize(
    ("other", "goes_on"),
    [
        ("other", "ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_migration_id=other)"),
        (
            "mine_rehearsal_20261123T221530",
            "ansible-playbook cht.couch2pg.rehearse -i inventory.yml -e couch2pg_migration_id=mine)",
        ),
    ],
)
def test_an_incoming_database_of_another_migration(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any], other: str, goes_on: str
) -> None:
    name = f"incoming_{os.getpid()}"
    state = Path(place["state_dir"]) / other
    state.mkdir(parents=True)
    where = ConnectionSettings("postgres", target_cluster.host, target_cluster.port, password=target_cluster.password)
    with Session(where) as session:
        target_database.start_incoming(session, state, server_identity(session), name)
    execute(target_cluster, f"CREATE DATABASE {name}")
    message = finding(look_at_target(place, target_cluster, "x", facts, incoming=name), "incoming database")["message"]
    assert f"belongs to the migration '{other}', which has not ended (its state folder: {state})" in message
    assert goes_on in message
    assert f"ansible-playbook cht.couch2pg.cancel -i inventory.yml -e couch2pg_migration_id={other})" in message
    execute(target_cluster, re.findall(r"DROP DATABASE .*;", message)[0])
    assert failures(look_at_target(place, target_cluster, "x", facts, incoming=name)) == []


def test_the_copy_that_a_rehearsal_kept(target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]) -> None:
    """That rehearsal has ended, so that it can't be continued. One that dropped its copy made none of those that are there."""
    name = f"kept_{os.getpid()}"
    server = ConnectionSettings("postgres", target_cluster.host, target_cluster.port, password=target_cluster.password)
    for other, kept in (("mine_rehearsal_20261123T221530", True), ("mine_rehearsal_20261124T221530", False)):
        state = Path(place["state_dir"]) / other
        state.mkdir(parents=True)
        with Session(server) as session:
            target_database.start_incoming(session, state, server_identity(session), name)
        ended = record_document.make_entry("target", {"outcome": "done", "kept": kept})
        made = record_document.merge(None, other, "cht", "rehearse", ended, "2026-11-23T22:20:00Z")
        write_json(state / record_document.NAME, made)
    execute(target_cluster, f"CREATE DATABASE {name}")
    message = finding(look_at_target(place, target_cluster, "x", facts, incoming=name), "incoming database")["message"]
    assert (
        f"'{name}' is the copy of the rehearsal 'mine_rehearsal_20261123T221530', which was kept at its end" in message
    )
    assert "ansible-playbook" not in message
    execute(target_cluster, re.findall(r"DROP DATABASE [^)]*;", message)[0])
    assert failures(look_at_target(place, target_cluster, "x", facts, incoming=name)) == []


def test_commands_in_findings_name_their_migration(target_cluster: Cluster, place: dict[str, Any]) -> None:
    looked = {"look_for_rehearsals": True, "migration_id": "mine"}
    found = look_at_target(place, target_cluster, "x", {}, **looked)
    command = "ansible-playbook cht.couch2pg.rehearse -i inventory.yml -e couch2pg_migration_id=mine"
    assert finding(found, "rehearsal")["message"].endswith(command)
    # One that was promoted needs no rehearsal, also where the server can't be asked.
    state = Path(place["state_dir"]) / "mine"
    state.mkdir(parents=True)
    (state / PROMOTED).write_text("{}", encoding="utf-8")
    refused = look_at_target(place, target_cluster, "x", {}, **looked, login_password="wrong")
    assert failures(refused) == ["connection"]
    assert "rehearsal" not in {entry["name"] for entry in refused["findings"]}


def test_a_role_is_missing_and_may_not_be_created(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    facts["roles"].append(dict(facts["roles"][0], name="nowhere", member_of=[]))
    created = look_at_target(place, target_cluster, "x", facts)
    assert failures(created) == []
    assert "nowhere" in finding(created, "roles")["message"]
    refused = look_at_target(place, target_cluster, "x", facts, missing_roles="fail")
    assert "The target lacks the role" in finding(refused, "roles")["message"]
    password = seed.create_role(target_cluster, "target_guest")
    execute(target_cluster, "ALTER ROLE target_guest CREATEDB NOCREATEROLE")
    guest = {"login_user": "target_guest", "login_password": password}
    powerless = look_at_target(place, target_cluster, "x", facts, **guest)
    message = finding(powerless, "roles")["message"]
    # Other tests may have made the other roles on this server.
    assert "'nowhere'" in message
    assert "'target_guest' may not create it." in message


def test_a_role_that_may_not_create_databases(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    password = seed.create_role(target_cluster, "target_guest")
    seed.create_role(target_cluster, seed.OWNER)
    guest = {"login_user": "target_guest", "login_password": password}
    execute(target_cluster, "ALTER ROLE target_guest NOCREATEDB")
    assert (
        "may not create databases"
        in finding(look_at_target(place, target_cluster, "x", facts, **guest), "rights")["message"]
    )
    execute(target_cluster, "ALTER ROLE target_guest CREATEDB")
    stranger = finding(look_at_target(place, target_cluster, "x", facts, **guest), "rights")
    assert "may not give objects to couch2pg" in stranger["message"]
    execute(target_cluster, f"GRANT {seed.OWNER} TO target_guest")
    assert finding(look_at_target(place, target_cluster, "x", facts, **guest), "rights")["status"] == "ok"
    # Nobody is made a member of a superuser.
    facts["acted_for"].append("postgres")
    owner = next(role for role in facts["roles"] if role["name"] == seed.OWNER)
    facts["roles"] = [owner, dict(owner, name="postgres", member_of=[])]
    message = finding(look_at_target(place, target_cluster, "x", facts, **guest), "rights")["message"]
    assert "GRANT" not in message
    facts["of_superusers"] = {"postgres": ["VIEW public.seen"]}
    message = finding(look_at_target(place, target_cluster, "x", facts, **guest), "rights")["message"]
    assert f'in the source\'s database: ALTER VIEW public.seen OWNER TO "{seed.OWNER}";' in message
    facts["preload_libraries"] = ["auto_explain"]
    message = finding(look_at_target(place, target_cluster, "x", facts, **guest), "libraries")["message"]
    assert "'target_guest' may not read shared_preload_libraries" in message
    facts["preload_libraries"] = None
    unknown = look_at_target(place, target_cluster, "x", facts, **guest)["findings"]
    assert "libraries" not in {entry["name"] for entry in unknown}
    execute(target_cluster, f"REVOKE {seed.OWNER} FROM target_guest")


def test_the_state_folder_was_changed(
    target_cluster: Cluster,
    place: dict[str, Any],
    facts: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    usual = tmp_path / "home" / "couch2pg-migration"
    (usual / "m").mkdir(parents=True)
    (usual / "m" / "record.json").write_text("{}", encoding="utf-8")
    found = look_at_target(place, target_cluster, "x", facts)
    assert finding(found, "state folder of this migration")["message"] == (
        f"This migration has its record in {usual}/m, but couch2pg_state_dir is {place['state_dir']} now. Nothing was changed. "
        f"Set couch2pg_state_dir to {usual} again, or choose another couch2pg_migration_id."
    )
    assert failures(look_at_target(dict(place, migration_id="other"), target_cluster, "x", facts)) == []


@pytest.mark.parametrize("option", ["staging_dir", "state_dir"])
def test_a_folder_can_not_be_written(option: str, seeded: Cluster, place: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place[option] = str(tmp_path / "file" / "below")
    found = look(place, seeded, DATABASE)
    name = option.replace("_dir", " folder")
    assert failures(found) == [name]
    assert finding(found, name)["message"] == (
        f"{tmp_path}/file is not a folder. Choose another path than {tmp_path}/file/below."
    )


def test_a_folder_on_a_file_system_that_is_read_only(seeded: Cluster, place: dict[str, Any], tmp_path: Path) -> None:
    mount = tmp_path / "read-only"
    place["staging_dir"] = str(mount / "archives")
    options = {**login(seeded, DATABASE), **place, "side": "source"}
    found = run_module("preflight", options, through=with_mount(mount, "ro"))
    assert failures(found) == ["staging folder"]
    assert finding(found, "staging folder")["message"] == (
        f"The folder {mount} is not writable for this user. Change its owner, or choose another path than {mount}/archives."
    )


def test_sql_ascii_is_refused(source_cluster: Cluster, place: dict[str, Any], database_name: str) -> None:
    execute(source_cluster, f"CREATE DATABASE {database_name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    try:
        found = look(place, source_cluster, database_name)
        assert "encoding" in failures(found)
        assert "has the encoding SQL_ASCII" in finding(found, "encoding")["message"]
        assert "Set couch2pg_encoding to UTF8" in finding(found, "encoding")["message"]
    finally:
        seed.drop_database(source_cluster, database_name)


def test_an_empty_target_database_of_another_encoding(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any], database_name: str
) -> None:
    seed.create_role(target_cluster, seed.OWNER)
    execute(
        target_cluster,
        f"CREATE DATABASE {database_name} OWNER {seed.OWNER} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'",
    )
    try:
        found = look_at_target(place, target_cluster, database_name, facts)
        assert failures(found) == ["locale"]
        message = finding(found, "locale")["message"]
        assert f"'{database_name}' has the encoding LATIN1, the source's UTF8." in message
        # One that is kept under another name doesn't matter.
        execute(target_cluster, "CREATE TABLE of_somebody (n int)", database_name)
        found = look_at_target(place, target_cluster, database_name, facts, replace_existing=True)
        assert failures(found) == []
        execute(target_cluster, message.split("restore makes it: ")[1])
        assert failures(look_at_target(place, target_cluster, database_name, facts)) == []
    finally:
        seed.drop_database(target_cluster, database_name)


def test_locale_and_extensions_of_the_source_are_missing(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    facts["database"].update(lc_collate="xx_XX.UTF-8", lc_ctype="xx_XX.UTF-8")
    facts["extensions"]["timescale"] = "2.0"
    found = look_at_target(place, target_cluster, "x", facts)
    assert failures(found) == ["locale", "extensions"]
    assert "doesn't have the locale 'xx_XX.UTF-8' of the source" in finding(found, "locale")["message"]
    assert "lacks the extension timescale" in finding(found, "extensions")["message"]


def test_extensions_that_an_administrator_may_or_may_not_create(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any], extension_folder: Path
) -> None:
    """A service's administrator is no superuser; whether the server lets it create an extension is tried there, and leaves nothing."""
    for name, more in (("reserved", ""), ("trustworthy", "trusted = true")):
        control = f"default_version = '1'\nsuperuser = true\n{more}\n"
        (extension_folder / f"{name}.control").write_text(control, encoding="utf-8")
        (extension_folder / f"{name}--1.sql").write_text("SELECT 1;\n", encoding="utf-8")
    password = seed.create_role(target_cluster, "target_guest")
    seed.create_role(target_cluster, seed.OWNER)
    execute(
        target_cluster,
        f"ALTER ROLE target_guest CREATEDB; GRANT {seed.OWNER} TO target_guest; ALTER ROLE target_guest SET extension_control_path = "
        f"'{extension_folder.parent}:$system'",
    )
    guest = {"login_user": "target_guest", "login_password": password}
    try:
        facts["extensions"] = {"trustworthy": "1"}
        assert finding(look_at_target(place, target_cluster, "x", facts, **guest), "extensions")["status"] == "ok"
        facts["extensions"] = {"reserved": "1", "trustworthy": "1"}
        message = finding(look_at_target(place, target_cluster, "x", facts, **guest), "extensions")["message"]
        assert message.startswith(
            "'target_guest' may not create the extension reserved on the target: permission denied to create"
        )
        assert "couch2pg_leave_out: {extensions: [reserved]}" in message
        # As one who may; a superuser isn't asked for a trial otherwise.
        settings = ConnectionSettings(
            "postgres", target_cluster.host, target_cluster.port, password=target_cluster.password
        )
        with Session(settings) as session:
            assert trial.extension_refusal(session, "reserved", "1") == ""
        assert finding(look_at_target(place, target_cluster, "x", facts), "extensions")["status"] == "ok"
        assert column(target_cluster, "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'") == []
    finally:
        execute(target_cluster, f"REVOKE {seed.OWNER} FROM target_guest; ALTER ROLE target_guest RESET ALL")


def test_a_name_is_too_long(target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]) -> None:
    name = "n" * 55
    found = look_at_target(place, target_cluster, name, facts)
    assert failures(found) == ["names"]
    assert "Set couch2pg_incoming to a shorter name." in finding(found, "names")["message"]
    assert failures(look_at_target(place, target_cluster, name, facts, incoming="shorter")) == []


def test_matviews_that_couch2pg_can_not_refresh(
    source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    execute(
        source_cluster,
        "CREATE TABLE couchdb (doc jsonb); CREATE SCHEMA other;"
        "CREATE MATERIALIZED VIEW empty AS SELECT 1 AS a WITH NO DATA;"
        "CREATE MATERIALIZED VIEW no_index AS SELECT 1 AS a;"
        "CREATE MATERIALIZED VIEW other.place AS SELECT 1 AS a; CREATE UNIQUE INDEX ON other.place (a);"
        "ALTER TABLE couchdb OWNER TO couch2pg",
        name,
    )
    # Those of dbt, for example, which nothing of couch2pg refreshes.
    assert finding(look(place, source_cluster, name), "materialized views")["status"] == "ok"
    execute(source_cluster, "CREATE FUNCTION refresh_matviews() RETURNS int LANGUAGE sql AS 'SELECT 1'", name)
    found = finding(look(place, source_cluster, name), "materialized views")
    assert found["status"] == "warning"
    for word in (
        "public.empty (not populated)",
        "public.no_index (no unique index)",
        "other.place (not in schema public)",
    ):
        assert word in found["message"]


def test_a_matview_whose_function_needs_a_search_path(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    execute(
        source_cluster,
        "CREATE TABLE couchdb (doc jsonb); INSERT INTO couchdb VALUES ('{}');"
        "CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM couchdb';"
        "CREATE MATERIALIZED VIEW hazard AS SELECT counted() AS n; CREATE UNIQUE INDEX ON hazard (n)",
        name,
    )
    facts = look(place, source_cluster, name)["facts"]
    assert [hazard["object"] for hazard in facts["hazards"]] == ["public.hazard"]
    found = look_at_target(place, target_cluster, "x", facts)
    assert failures(found) == ["materialized views"]
    assert "can't refresh public.hazard" in finding(found, "materialized views")["message"]
    assert "Set search_path on that function" in finding(found, "materialized views")["message"]


def test_an_index_whose_function_needs_a_search_path(
    source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    execute(
        source_cluster,
        "CREATE TABLE couchdb (doc jsonb); INSERT INTO couchdb VALUES ('{}');"
        "CREATE FUNCTION inner_part(doc jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT doc::text';"
        "CREATE FUNCTION outer_part(doc jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT inner_part(doc)';"
        "CREATE INDEX sound ON couchdb (inner_part(doc)); CREATE INDEX hazard ON couchdb (outer_part(doc), (doc ->> 'a'))",
        name,
    )
    found = look(place, source_cluster, name)
    assert failures(found) == ["index public.hazard"]
    assert "function inner_part(jsonb) does not exist" in finding(found, "index public.hazard")["message"]


def test_a_matview_of_another_owner(source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]) -> None:
    name = fresh_database(source_cluster)
    execute(
        source_cluster,
        "CREATE TABLE couchdb (doc jsonb);"
        "CREATE FUNCTION refresh_matviews() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "ALTER FUNCTION refresh_matviews() OWNER TO couch2pg;"
        "CREATE MATERIALIZED VIEW strange AS SELECT 1 AS a; CREATE UNIQUE INDEX ON strange (a)",
        name,
    )
    found = finding(look(place, source_cluster, name), "materialized views")
    assert "public.strange (owned by postgres, not by couch2pg)" in found["message"]


def test_a_tablespace_of_the_source_is_missing(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    facts["sizes"]["tablespaces"] = {"fast_disk": 1000}
    found = look_at_target(place, target_cluster, "x", facts)
    assert failures(found) == ["tablespaces"]
    message = finding(found, "tablespaces")["message"]
    assert "The target's server lacks the tablespace fast_disk" in message
    assert failures(look_at_target(place, target_cluster, "x", facts, tablespaces="default")) == []
    folder = target_cluster.directory / "fast_disk"
    folder.mkdir()
    server_account().give(folder)
    execute(target_cluster, message.split("server's user: ")[1].replace("/FOLDER", str(folder)))
    try:
        assert failures(look_at_target(place, target_cluster, "x", facts)) == []
        guest = {"login_user": "target_guest", "login_password": seed.create_role(target_cluster, "target_guest")}
        closed = finding(look_at_target(place, target_cluster, "x", facts, **guest), "tablespaces")["message"]
        assert closed.startswith("'target_guest' may not create anything in the target's tablespace fast_disk.")
        execute(target_cluster, closed.split("as a superuser: ")[1])
        assert "tablespaces" not in failures(look_at_target(place, target_cluster, "x", facts, **guest))
        execute(target_cluster, "REVOKE ALL ON TABLESPACE fast_disk FROM target_guest")
    finally:
        execute(target_cluster, "DROP TABLESPACE fast_disk")


def test_source_and_target_on_one_machine_share_its_disks(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any], tmp_path: Path
) -> None:
    other = {**place, "staging_dir": str(tmp_path / "elsewhere")}
    for options, archives in ((place, 1), (other, 2)):
        found = look_at_target(options, target_cluster, "x", facts)
        needs = [
            need["path"]
            for entry in found["findings"]
            if entry["name"].startswith("disk ")
            for need in entry["details"]["needs"]
            if need["use"] == "archive"
        ]
        assert len(needs) == len(set(needs)) == archives


def test_what_an_earlier_run_left_is_told(
    target_cluster: Cluster, place: dict[str, Any], facts: dict[str, Any]
) -> None:
    state = Path(place["state_dir"]) / "m"
    state.mkdir(parents=True)
    (state / "promoted.json").write_text("{damaged", encoding="utf-8")
    found = look_at_target(place, target_cluster, "x", facts)
    assert failures(found) == ["target database"]
    assert "promoted.json is damaged" in finding(found, "target database")["message"]


def test_a_job_of_another_migration_is_told(seeded: Cluster, place: dict[str, Any]) -> None:
    folder = Path(place["state_dir"]) / "another" / "jobs" / "dump"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text("{}", encoding="utf-8")
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = look(place, seeded, DATABASE)
    assert "Other migrations are running on this host: another (dump)" in finding(found, "other migrations")["message"]


def test_the_size_of_the_archive_is_told(seeded: Cluster, place: dict[str, Any]) -> None:
    found = finding(look(place, seeded, DATABASE), "archive")
    assert found["status"] == "ok"
    assert found["details"]["archive_bytes"] < found["details"]["table_bytes"]


def test_the_time_of_each_method_is_estimated_from_samples(
    seeded: Cluster, target_cluster: Cluster, place: dict[str, Any]
) -> None:
    facts = look(place, seeded, DATABASE)["facts"]
    assert facts["reading"] > 1_000_000
    databases = column(target_cluster, "SELECT datname FROM pg_database ORDER BY 1")
    found = look_at_target(place, target_cluster, DATABASE, facts)
    told = finding(found, "estimate")
    assert re.match(
        r"archive .* up to the promotion \(the source reads .* and the target loads .* process\)\. "
        r"The other methods: stream .*; physical .*\. A rehearsal tells more\.",
        told["message"],
    )
    by_method = {each["method"]: each for each in told["details"]["estimates"]}
    assert found["facts"]["seconds"] == [by_method["archive"]["shortest"], by_method["archive"]["longest"]]
    # The sample that was loaded is gone, and check mode loads none.
    assert column(target_cluster, "SELECT datname FROM pg_database ORDER BY 1") == databases
    assert (
        "the target loads"
        not in finding(look_at_target(place, target_cluster, DATABASE, facts, _ansible_check_mode=True), "estimate")[
            "message"
        ]
    )


def test_the_playbook_shows_all_of_both_sides_and_fails_in_the_end(
    seeded: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    bad = {"source": {"couch2pg_login_port": 1}, "target": {"couch2pg_staging_dir": "/etc/passwd/archives"}}
    migration = Migration(seeded, target_cluster, client_dir, tmp_path, DATABASE, host_variables=bad)
    run = migration.run("preflight")
    assert run.code != 0
    assert "on source: PostgreSQL at 127.0.0.1:1 can't be reached" in run.message
    assert "on target: /etc/passwd is not a folder." in run.message
    assert "there is no 'checked' yet" in run.output
    assert run.changed == 0
    assert run.warnings == []
    migration.check_secrets(run.output)


def test_the_role_alone_shows_its_findings_and_fails(
    seeded: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    migration = Migration(seeded, target_cluster, client_dir, tmp_path, "nowhere")
    (tmp_path / "alone.yml").write_text(
        "- hosts: couch2pg_source\n  gather_facts: false\n  roles:\n"
        "    - {role: cht.couch2pg.preflight, preflight_side: source}\n",
        encoding="utf-8",
    )
    run = migration.run(str(tmp_path / "alone"))
    assert run.code != 0
    assert run.message.startswith("There is no database 'nowhere' at 127.0.0.1:")
    assert "ok       staging folder: " in run.output
    assert "FAILURE  connection: " in run.output


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"couch2pg_databse": "cht"}, "The variable couch2pg_databse is unknown: did you mean couch2pg_database?"),
        ({"dump_compresion": "none"}, "The variable dump_compresion is unknown: did you mean dump_compression?"),
        (
            {"couch2pg_format": "zip"},
            "The variable couch2pg_format must be one of directory, custom, tar, and it is 'zip'.",
        ),
        (
            {"couch2pg_maintenance_work_mem": "lots"},
            "The variable couch2pg_maintenance_work_mem must be an amount of memory, such as 2GB, and it is 'lots'.",
        ),
    ],
)
def test_a_misspelt_variable_or_value(
    variables: dict[str, str], sentence: str, seeded: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    migration = Migration(seeded, target_cluster, client_dir, tmp_path, DATABASE, variables=variables)
    assert migration.fail(playbook="preflight") == sentence
    assert not (tmp_path / "state").exists()


def test_no_host_in_a_group(seeded: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path) -> None:
    migration = Migration(seeded, target_cluster, client_dir, tmp_path, DATABASE)
    (tmp_path / "empty").write_text("localhost ansible_connection=local\n", encoding="utf-8")
    command = migration.command("preflight")
    command[command.index("-i") + 1] = str(tmp_path / "empty")
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "couch2pg_source" in done.stdout
    assert "couch2pg_target" in done.stdout
