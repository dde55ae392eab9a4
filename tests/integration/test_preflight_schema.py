# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_restore would refuse is found in preflight, before any row is moved; and nothing of the trial stays."""

from __future__ import annotations

import base64
import re
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import yaml
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.scratch import (
    drop_left_over,
    scratch_database,
    scratch_name,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.findings import Findings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.database import find_database
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import schema_rehearsal
from support import binaries, places, seed
from support.cases import rarely
from support.clusters import Cluster
from support.migration import ROOT, Migration, column, execute
from support.preflight import failures, finding, look, look_at_target, schema_of

CASES = Path(__file__).parents[1] / "support" / "sql" / "cases"
NAME = "schema on the target"
Fresh = Callable[[Cluster], str]


@pytest.fixture
def clean_target(target_cluster: Cluster) -> Iterator[Cluster]:
    """The target, which must have the same databases and roles after the test."""
    objects = "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles ORDER BY 1"
    seed.create_role(target_cluster, seed.OWNER)
    before = column(target_cluster, objects)
    yield target_cluster
    assert column(target_cluster, objects) == before


def made(cluster: Cluster, database: str, case: str) -> str:
    execute(cluster, (CASES / f"{case}.sql").read_text(encoding="utf-8"), database)
    return database


def tried(place: dict[str, Any], source: Cluster, target: Cluster, database: str, **options: Any) -> dict[str, Any]:
    """The target's side with the source's schema."""
    facts = look(place, source, database)["facts"]
    schema = schema_of(place, source, database)
    return look_at_target(place, target, database, facts, schema=schema, **options)


def test_a_sound_schema_is_restored_and_dropped(
    source_cluster: Cluster, clean_target: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    seed.drop_database(source_cluster, name)
    seed.seed(source_cluster, name, documents=seed.MINIMUM, huge=False)
    found = tried(place, source_cluster, clean_target, name)
    assert failures(found) == []
    assert finding(found, NAME)["status"] == "ok"
    moved = tried(place, source_cluster, clean_target, name, role_map={"superset": "nowhere_yet"})
    assert finding(moved, NAME)["status"] == "ok"


PLAYS = """
- ansible.builtin.import_playbook: {preflight}
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.copy: {{src: "{{{{ hostvars.source.preflight_source_schema }}}}", dest: {kept}, mode: preserve}}
    - cht.couch2pg.preflight:
        {{side: target, database: cht, incoming: i, migration_id: m, state_dir: s, staging_dir: s, schema: {kept}.nowhere}}
      register: unread
      failed_when: unread.code != 'schema_unread'
    - ansible.builtin.debug: {{msg: "path={{{{ hostvars.source.preflight_source_schema }}}}="}}
"""


def test_the_schema_is_in_a_private_file_and_not_in_the_output(
    source_cluster: Cluster, clean_target: Cluster, fresh_database: Fresh, client_dir: Path, tmp_path: Path
) -> None:
    """A schema may hold passwords. With -vvv, Ansible shows the whole result of a task."""
    name, kept = fresh_database(source_cluster), tmp_path / "kept"
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    plays = PLAYS.format(preflight=ROOT / "playbooks" / "preflight.yml", kept=kept)
    (tmp_path / "plays.yml").write_text(plays, encoding="utf-8")
    migration = Migration(source_cluster, clean_target, client_dir, tmp_path, name, warm=False)
    run = migration.run(str(tmp_path / "plays"), "-vvv")
    assert run.code == 0, run.output
    assert "schema on the target: the source's schema was restored into a scratch database" in run.output
    content = kept.read_text(encoding="ascii")
    assert base64.b64decode(content).startswith(b"PGDMP")
    assert content[100:160] not in run.output
    assert kept.stat().st_mode & 0o777 == 0o600
    found = re.search("path=(/.+)=", run.output)
    assert found
    assert not Path(found[1]).exists()


# Ansible runs modules without arguments.
@pytest.mark.parametrize(
    ("command", "shown"),
    [('"$@"; echo "bye}"', False), ('[ $# -gt 1 ] || { echo "no memory is left"; exit 9; }; "$@"', True)],
)
def test_an_answer_that_ansible_can_not_read(
    command: str,
    shown: bool,
    source_cluster: Cluster,
    clean_target: Cluster,
    fresh_database: Fresh,
    client_dir: Path,
    tmp_path: Path,
) -> None:
    """Ansible shows the whole output of such a module. It says why the module ended, or it has the schema."""
    name, python = fresh_database(source_cluster), tmp_path / "python"
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    python.write_text(f'#!/bin/sh\nset -- {sys.executable} "$@"\n{command}\n', encoding="utf-8")
    python.chmod(0o755)
    odd = {"source": {"ansible_python_interpreter": str(python)}}
    migration = Migration(source_cluster, clean_target, client_dir, tmp_path, name, host_variables=odd, warm=False)
    run = migration.run("preflight", "-vvv")
    assert run.code != 0
    assert "FAILURE  module: " in run.output
    assert ("no memory is left" in run.output) is shown
    assert "UEdETV" not in run.output


def test_a_controller_that_can_not_keep_the_schema(
    source_cluster: Cluster, clean_target: Cluster, fresh_database: Fresh, client_dir: Path, tmp_path: Path
) -> None:
    """Preflight fails and names the folder: without the schema, it would leave out the trial."""
    name, python, local = fresh_database(source_cluster), tmp_path / "python", tmp_path / "local"
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    # The folder is gone when the answer arrives.
    python.write_text(f'#!/bin/sh\n{sys.executable} "$@"\n[ $# -gt 1 ] || rm -rf {local}\n', encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\nlocal_tmp = {local}\n", encoding="utf-8")
    odd = {"source": {"ansible_python_interpreter": str(python)}}
    migration = Migration(source_cluster, clean_target, client_dir, tmp_path, name, host_variables=odd, warm=False)
    run = migration.run("preflight")
    assert run.code != 0
    assert f"The source's schema can't be written to {local}" in run.output
    assert "UEdETV" not in run.output


@pytest.mark.parametrize("server", ["thirteen_cluster", rarely("old_cluster")])
def test_an_aggregate_over_anyarray(
    server: str, clean_target: Cluster, fresh_database: Fresh, place: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    source: Cluster = request.getfixturevalue(server)
    name = made(source, fresh_database(source), "aggregate-over-anyarray")
    found = tried(place, source, clean_target, name)
    assert failures(found) == [NAME]
    message = finding(found, NAME)["message"]
    assert "function array_append(anyarray, anyelement) does not exist" in message
    assert "STYPE = anycompatiblearray" in message
    # The remedy that it prints works.
    function = message[
        message.index("CREATE FUNCTION public.same_array_append") : message.index("; then CREATE OR REPLACE")
    ]
    again = "CREATE OR REPLACE AGGREGATE"
    if server == "old_cluster":
        assert "before PostgreSQL 12, DROP AGGREGATE ...; and CREATE AGGREGATE without OR REPLACE" in message
        again = "DROP AGGREGATE collect(anyelement); CREATE AGGREGATE"
    properties = "(SFUNC = public.same_array_append, STYPE = anyarray, INITCOND = '{}')"
    execute(source, f"{function}; {again} collect(anyelement) {properties}", name)
    assert finding(tried(place, source, clean_target, name), NAME)["status"] == "ok"
    # So does the other one.
    definition = "CREATE AGGREGATE collect({}) (SFUNC = array_append, STYPE = {}, INITCOND = '{{}}')"
    execute(source, "DROP AGGREGATE collect(anyelement)", name)
    assert finding(tried(place, source, clean_target, name), NAME)["status"] == "ok"
    seed.create_database(clean_target, f"{name}_migrated")
    execute(clean_target, definition.format("anycompatible", "anycompatiblearray"), f"{name}_migrated")
    seed.drop_database(clean_target, f"{name}_migrated")


def test_a_language_whose_handler_is_not_dumped(
    source_cluster: Cluster, clean_target: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    more = "CREATE TABLE couchdb (doc jsonb); CREATE LANGUAGE other HANDLER plpgsql_call_handler"
    execute(source_cluster, more, name)
    message = finding(tried(place, source_cluster, clean_target, name), NAME)["message"]
    execute(source_cluster, message.split("drop it on the source (")[1].split(");")[0], name)
    # The other remedy.
    execute(
        source_cluster,
        "CREATE FUNCTION handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'; "
        "CREATE LANGUAGE other HANDLER handler",
        name,
    )
    assert finding(tried(place, source_cluster, clean_target, name), NAME)["status"] == "ok"


def test_what_newer_versions_have_no_more(
    thirteen_cluster: Cluster, clean_target: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """An extension that no package has, and an operator after its argument: each remedy works."""
    name = fresh_database(thirteen_cluster)
    execute(thirteen_cluster, "CREATE EXTENSION adminpack; CREATE TABLE couchdb (doc jsonb)", name)
    execute(thirteen_cluster, "CREATE VIEW fact AS SELECT n ! AS f FROM generate_series(1, 3) AS n", name)
    message = finding(tried(place, thirteen_cluster, clean_target, name), "extensions")["message"]
    assert (
        "PostgreSQL has no adminpack since 17. Leave it out: couch2pg_leave_out: {extensions: [adminpack]}" in message
    )
    execute(thirteen_cluster, "DROP EXTENSION adminpack; CREATE OPERATOR @#@ (LEFTARG = int, PROCEDURE = abs)", name)
    message = finding(tried(place, thirteen_cluster, clean_target, name), NAME)["message"]
    assert (
        message.count("(write factorial(n)). Write the definition in another way on the source, or drop it there") == 2
    )
    execute(
        thirteen_cluster,
        "DROP OPERATOR @#@ (int, NONE); CREATE OR REPLACE VIEW fact AS SELECT factorial(n) AS f FROM generate_series(1, 3) AS n",
        name,
    )
    assert failures(tried(place, thirteen_cluster, clean_target, name)) == []


OF_TWO = """
CREATE TABLE couchdb (doc jsonb);
CREATE FUNCTION add(interval, numeric) RETURNS interval LANGUAGE sql AS 'SELECT $1'; CREATE SCHEMA "of Dates";
CREATE FUNCTION "of Dates"."take, away"(interval, numeric) RETURNS interval LANGUAGE sql AS 'SELECT $1';
CREATE OPERATOR + (PROCEDURE = add, LEFTARG = interval, RIGHTARG = numeric, COMMUTATOR = -);
CREATE OPERATOR "of Dates".- (PROCEDURE = "of Dates"."take, away", LEFTARG = interval, RIGHTARG = numeric, COMMUTATOR = OPERATOR(public.-));
"""


def test_an_operator_that_is_the_commutator_of_two(
    thirteen_cluster: Cluster, clean_target: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """Older versions take that."""
    name = fresh_database(thirteen_cluster)
    execute(thirteen_cluster, OF_TWO, name)
    message = finding(tried(place, thirteen_cluster, clean_target, name), NAME)["message"]
    assert "with the same NEGATOR, RESTRICT, JOIN, HASHES and MERGES: " in message, message
    execute(thirteen_cluster, message.split("HASHES and MERGES: ")[1], name)
    assert failures(tried(place, thirteen_cluster, clean_target, name)) == []


@pytest.fixture
def of_distribution() -> Iterator[tuple[Cluster, Path]]:
    """A server of the installed version, and the folder of the client programs of that version."""
    ours = binaries.installed()[max(binaries.installed())]
    folder = Path(tempfile.mkdtemp(prefix=f"{ours.major}-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, ours) as cluster:
        seed.create_role(cluster, seed.OWNER)
        yield cluster, ours.bin_dir


def test_a_statement_that_only_newer_servers_read(
    thirteen_cluster: Cluster, of_distribution: tuple[Cluster, Path], fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """pg_dump writes for servers of its own version: since 18, NOT NULL of an inherited column as a constraint of its own."""
    target, programs = of_distribution
    name = fresh_database(thirteen_cluster)
    execute(
        thirteen_cluster,
        "CREATE TABLE couchdb (doc jsonb); CREATE TABLE parent (n int);"
        "CREATE TABLE child () INHERITS (parent); ALTER TABLE child ALTER n SET NOT NULL",
        name,
    )
    message = finding(tried(place, thirteen_cluster, target, name), NAME)["message"]
    major = target.binaries.major
    assert f"the target's is {major}. Install postgresql-client-{major} on the host where pg_dump runs" in message
    there = {**place, "bin_dir": str(programs)}
    assert finding(tried(there, thirteen_cluster, target, name), NAME)["status"] == "ok"


LABELS = """
CREATE TABLE couchdb (doc jsonb);
INSERT INTO pg_seclabel VALUES ('couchdb'::regclass, 'pg_class'::regclass, 1, 'anon', 'MASKED WITH VALUE NULL');
INSERT INTO pg_shseclabel VALUES ('couch2pg'::regrole, 'pg_authid'::regclass, 'anon', 'MASKED'),
    ((SELECT oid FROM pg_database WHERE datname = current_database()), 'pg_database'::regclass, 'anon', 'it''s');
"""


def test_security_labels(
    source_cluster: Cluster, clean_target: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """No package has a provider, so the rows are written into the catalogs."""
    name = fresh_database(source_cluster)
    connection = source_cluster.connect(name, options="-c allow_system_table_mods=on")
    try:
        with connection.cursor() as cursor:
            cursor.execute(LABELS)
            told = finding(look(place, source_cluster, name), "not copied")["message"]
            assert f"SECURITY LABEL FOR anon ON DATABASE {name} IS 'it''s'" in told
            assert "SECURITY LABEL FOR anon ON ROLE couch2pg IS 'MASKED'" in told
            message = finding(tried(place, source_cluster, clean_target, name), NAME)["message"]
            assert 'security label provider "anon" is not loaded' in message
            assert "ALTER SYSTEM SET session_preload_libraries" in message
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM pg_shseclabel")
        connection.close()


def test_the_scratch_database_has_the_settings_of_the_source(target_cluster: Cluster) -> None:
    """They may load the library that knows the labels. What this server refuses is left out."""
    settings = ConnectionSettings(
        "postgres", target_cluster.host, target_cluster.port, password=target_cluster.password
    )
    wanted = ["work_mem=5MB", "session_preload_libraries=nosuch", "nosuch_setting=1"]
    with Session(settings) as session:
        model = dict(find_database(session, "template1") or {}, settings=wanted)
    with scratch_database(settings, "m", scratch_name("m"), "postgres", model) as scratch, Session(scratch) as inside:
        assert inside.value("SELECT current_setting('work_mem')") == "5MB"


@pytest.mark.usefixtures("clean_target")
def test_pg_restore_waits_for_a_lock(
    source_cluster: Cluster,
    target_cluster: Cluster,
    fresh_database: Fresh,
    place: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a role, which belongs to no database: it is named, and nothing of the trial stays."""
    for cluster in (source_cluster, target_cluster):
        execute(cluster, "CREATE ROLE held")
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb); ALTER TABLE couchdb OWNER TO held", name)
    try:
        facts = look(place, source_cluster, name)["facts"]
        schema = schema_of(place, source_cluster, name)
        settings = ConnectionSettings(name, target_cluster.host, target_cluster.port, password=target_cluster.password)
        options = {"missing_roles": "create", "role_map": {}, "function_search_path": {}, "extension_versions": {}}
        options.update(place, tablespaces="keep")
        monkeypatch.setattr(Session, "default_lock_seconds", 2)
        with target_cluster.connect("postgres") as other:
            other.autocommit = False
            other.cursor().execute("DROP ROLE held")
            timer = threading.Timer(30, other.close)
            timer.start()
            with pytest.raises(MigrationError) as caught:
                schema_rehearsal.examine(settings, Findings(), options, facts, schema)
            timer.cancel()
            other.rollback()
        assert caught.value.code == "locked"
        assert f"is locked by session {other.info.backend_pid} (" in caught.value.message
        found = Findings()
        schema_rehearsal.examine(settings, found, options, facts, schema)
        assert found.found[0].status == "ok"
    finally:
        seed.drop_database(source_cluster, name)
        for cluster in (source_cluster, target_cluster):
            execute(cluster, "DROP ROLE held")


def test_a_database_of_somebody_with_the_name_of_the_scratch_database(target_cluster: Cluster) -> None:
    name = scratch_name("m")
    execute(target_cluster, f"CREATE DATABASE {name}")
    execute(target_cluster, "CREATE TABLE of_somebody (n int)", name)
    settings = ConnectionSettings("x", target_cluster.host, target_cluster.port, password=target_cluster.password)
    with Session(settings.maintenance) as session:
        with pytest.raises(MigrationError) as caught:
            drop_left_over(session, "m", name)
        keep, drop = re.findall(r"\(((?:ALTER|DROP) [^)]+)\)", caught.value.message)
        execute(target_cluster, keep)
        drop_left_over(session, "m", name)
    execute(target_cluster, drop.replace(name, f"{name}_kept"))


def test_nothing_is_created_in_check_mode(
    source_cluster: Cluster, clean_target: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    found = tried(place, source_cluster, clean_target, name, _ansible_check_mode=True)
    assert finding(found, NAME)["message"] == (
        "Not tried in check mode, because it needs a scratch database on the target."
    )


# As pg_cron's script does it.
ONE_DATABASE = """
DO $$ BEGIN IF pg_catalog.current_database() <> pg_catalog.current_setting('clock.database_name') THEN
    RAISE EXCEPTION 'can only create extension in database %', pg_catalog.current_setting('clock.database_name'); END IF; END $$;
CREATE TABLE clock_jobs (id serial, command text); SELECT pg_catalog.pg_extension_config_dump('clock_jobs', '');
"""


def test_an_extension_of_one_database_of_the_server(
    target_cluster: Cluster, extension_folder: Path, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """Each remedy, in turn: the server doesn't know it yet, then it belongs to another database, then it is left out."""
    control = "default_version = '1'\nrelocatable = false\nschema = public\n"
    (extension_folder / "clock.control").write_text(control, encoding="utf-8")
    (extension_folder / "clock--1.sql").write_text(ONE_DATABASE, encoding="utf-8")
    name = fresh_database(target_cluster)
    made_by = f"""SET clock.database_name = '{name}'; CREATE EXTENSION clock; CREATE TABLE couchdb (doc jsonb);
    INSERT INTO clock_jobs VALUES (1, 'VACUUM')"""
    execute(target_cluster, made_by, name)

    def seen(**options: Any) -> dict[str, Any]:
        here = look(place, target_cluster, name, **options)
        assert failures(here) == []
        facts = {**here["facts"], "running_server": ""}
        schema = schema_of(place, target_cluster, name, **options)
        return look_at_target(place, target_cluster, f"{name}_there", facts, schema=schema)

    message = finding(seen(), NAME)["message"]
    assert "ALTER SYSTEM SET shared_preload_libraries = 'clock';" in message
    # It doesn't exist because it couldn't be created.
    assert "COMMENT ON EXTENSION" not in message
    assert "does not exist" not in message
    execute(target_cluster, "ALTER ROLE postgres SET clock.database_name = 'postgres'")
    try:
        message = finding(seen(), NAME)["message"]
        assert "(postgres on the target)" in message
        leave_out = yaml.safe_load(message.split("with its rows: ")[1].split(". After")[0])["couch2pg_leave_out"]
        assert failures(seen(leave_out=leave_out)) == []
        # After the promotion.
        assert "into that configuration" in message
        seed.create_database(target_cluster, f"{name}_there")
        execute(target_cluster, f"ALTER ROLE postgres SET clock.database_name = '{name}_there'")
        execute(target_cluster, "CREATE EXTENSION clock; INSERT INTO clock_jobs VALUES (1, 'VACUUM')", f"{name}_there")
    finally:
        seed.drop_database(target_cluster, f"{name}_there")
        execute(target_cluster, "ALTER ROLE postgres RESET clock.database_name")
