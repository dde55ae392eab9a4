# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remedies are followed as they are printed: each statement is taken out of the message, and what it promises is then possible."""

from __future__ import annotations

import re
import shlex
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import query_plan, readable
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import binaries, places, seed
from support.background import wait_until
from support.cases import rarely
from support.clusters import Cluster
from support.migration import Migration, column, execute
from support.modules import login, run_module
from support.phases import Phases
from support.preflight import failures, finding, look, look_at_target, schema_of

Fresh = Callable[[Cluster], str]


CLOSED = """
CREATE TABLE couchdb (doc jsonb); CREATE SCHEMA "Closed"; CREATE TABLE "Closed".rows (id serial, n int);
INSERT INTO "Closed".rows (n) VALUES (1); CREATE TABLE parts (id int) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF parts DEFAULT;
CREATE MATERIALIZED VIEW "Closed".counted AS SELECT 1 AS n; CREATE SEQUENCE alone;
CREATE TABLE hidden (n int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; INSERT INTO hidden VALUES (1);
SELECT lo_from_bytea(0, 'one'), lo_from_bytea(0, 'two');
"""


@pytest.mark.parametrize(
    ("server", "attribute"),
    [
        ("thirteen_cluster", "INHERIT"),
        ("source_cluster", "INHERIT"),
        ("source_cluster", "NOINHERIT"),
        ("target_cluster", "NOINHERIT"),
    ],
)
def test_a_role_that_may_read_nothing(
    server: str, attribute: str, fresh_database: Fresh, place: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """When it follows what preflight says, it can dump: what is in a closed schema, sequences and large objects, too."""
    cluster: Cluster = request.getfixturevalue(server)
    name = fresh_database(cluster)
    execute(cluster, CLOSED, name)
    reader = {"login_user": "Reads 50%", "login_password": seed.create_role(cluster, "Reads 50%")}
    execute(cluster, f'ALTER ROLE "Reads 50%" {attribute}')
    try:
        refused = look(place, cluster, name, **reader)
        assert failures(refused) == ["rights", "row-level security", "large objects"]
        for each in failures(refused):
            statements = finding(refused, each)["message"].partition("as a superuser")[2]
            execute(cluster, statements.lstrip(":, run"), name)
        assert failures(look(place, cluster, name, **reader)) == []
        dumped = run_module("pg_dump", {**login(cluster, name), **place, **reader})
        assert not dumped.get("failed"), dumped
    finally:
        seed.drop_database(cluster, name)
        execute(cluster, 'DROP ROLE "Reads 50%"')


@pytest.fixture
def standby() -> Iterator[Cluster]:
    """A server whose folder says that it is a standby, while it is stopped and started by ``stand_by``."""
    folder = Path(tempfile.mkdtemp(prefix="standby-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(16)) as cluster:
        yield cluster


def stand_by(cluster: Cluster, on: bool) -> None:
    cluster.stop()
    signal = cluster.data_directory / "standby.signal"
    signal.unlink(missing_ok=True)
    if on:
        signal.touch()
        places.server_account().give(signal)
    cluster.start()


UNLOGGED = """
CREATE TABLE couchdb (doc jsonb); CREATE UNLOGGED TABLE "Fast" (id serial); CREATE UNLOGGED SEQUENCE s;
"""


DELAYS = "SELECT name || ' ' || setting FROM pg_settings WHERE name ~ '^max_standby_.*_delay' ORDER BY 1"


def run_each(cluster: Cluster, statements: str) -> None:
    """ALTER SYSTEM refuses to run with other statements."""
    for statement in re.findall(r"[^;]+;", statements):
        execute(cluster, statement)


def test_a_standby(standby: Cluster, place: dict[str, Any]) -> None:
    """It doesn't have what is unlogged, and its replay ends long queries."""
    execute(standby, UNLOGGED)
    # What needs a restart, too.
    few = finding(look(place, standby, "postgres", jobs=200), "connections")
    assert few["status"] == "failure"
    execute(standby, few["message"].split("restart it: ")[1])
    execute(standby, "ALTER SYSTEM SET max_standby_archive_delay = '45s'")
    stand_by(standby, True)
    delays = column(standby, DELAYS)
    refused = look(place, standby, "postgres")
    assert failures(refused) == ["unlogged tables of a standby"]
    warned = finding(refused, "standby")
    assert warned["status"] == "warning"
    assert "longer than max_standby_archive_delay (45s) and max_standby_streaming_delay (30s)" in warned["message"]
    before, afterwards = warned["message"].split("as a superuser, before the dump: ")[1].split(" After the dump: ")
    run_each(standby, before)
    stand_by(standby, False)
    execute(standby, finding(refused, "unlogged tables of a standby")["message"].split("on the primary: ")[1])
    stand_by(standby, True)
    found = look(place, standby, "postgres", jobs=200)
    assert failures(found) == []
    assert finding(found, "standby")["status"] == "ok"
    dumped = run_module("pg_dump", {**login(standby, "postgres"), **place})
    assert not dumped.get("failed"), dumped
    assert "public.Fast" in {row["table"] for row in dumped["tables"]}
    run_each(standby, afterwards)
    wait_until("the settings are as before", lambda: column(standby, DELAYS) == delays)


OF_OTHERS = """
CREATE TABLE couchdb (doc jsonb); INSERT INTO couchdb VALUES ('{}'); ALTER TABLE couchdb OWNER TO couch2pg;
CREATE TABLE forced (n int); INSERT INTO forced VALUES (1); ALTER TABLE forced OWNER TO "Of forced";
ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY;
CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER "Tells" ON ddl_command_end EXECUTE FUNCTION told(); CREATE PUBLICATION everything FOR ALL TABLES;
"""

DEFAULTS = """
CREATE SCHEMA "Odd"; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC, "Of forced";
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA "Odd" GRANT USAGE ON SEQUENCES TO couch2pg;
"""


@pytest.mark.long
def test_a_role_that_may_do_nothing_on_the_target(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any], tmp_path: Path
) -> None:
    """When what preflight says is done, one after the other, it can restore."""
    execute(source_cluster, 'CREATE ROLE "Of forced"')
    name = fresh_database(source_cluster)
    execute(source_cluster, f'{OF_OTHERS} ALTER DATABASE "{name}" OWNER TO postgres', name)
    execute(source_cluster, DEFAULTS, name)
    seed.create_role(target_cluster, seed.OWNER)
    guest = {"login_user": "No rights", "login_password": seed.create_role(target_cluster, "No rights")}
    execute(target_cluster, 'ALTER ROLE "No rights" NOINHERIT')
    phases = Phases(source_cluster, target_cluster, name, Path(place["bin_dir"]), tmp_path)
    followed = []

    def refused() -> str:
        facts = look(place, source_cluster, name)["facts"]
        found = look_at_target(place, target_cluster, name, facts, **guest)
        if not failures(found):
            schema = schema_of(place, source_cluster, name)
            found = look_at_target(place, target_cluster, name, facts, schema=schema, **guest)
        failed = failures(found)
        return str(finding(found, failed[0])["message"]) if failed else ""

    try:
        while (message := refused()) and len(followed) < 10:
            there = re.search(r"\(((?:ALTER|CREATE|GRANT) [^)]+)\)", message)
            here = re.search(r"in the source's database: (.*)", message)
            if there:
                execute(target_cluster, there[1])
            elif here:
                execute(source_cluster, here[1].replace("...", seed.OWNER), name)
            else:
                assert "drop them on the source" in message
                execute(source_cluster, 'DROP EVENT TRIGGER "Tells"; DROP PUBLICATION everything', name)
            followed.append(message)
        assert len(followed) == 7, followed
        for phase in (phases.dump, phases.restore, phases.refresh, phases.verify):
            phases.user = "postgres" if phase == phases.dump else "No rights"
            result = phase()
            assert not result.get("failed"), result["msg"]
    finally:
        for cluster in (source_cluster, target_cluster):
            for database in (name, phases.incoming):
                seed.drop_database(cluster, database)
        execute(source_cluster, 'DROP ROLE "Of forced"')
        execute(
            target_cluster,
            f'REVOKE {seed.OWNER} FROM "No rights"; DROP ROLE IF EXISTS "Of forced"; DROP ROLE "No rights"',
        )


SOURCE = """
CREATE TABLE couchdb (doc jsonb); ALTER TABLE couchdb OWNER TO couch2pg; ALTER DATABASE "{database}" OWNER TO postgres;
CREATE SCHEMA "Odd"; CREATE UNLOGGED TABLE "Odd"."Fast" (n int); CREATE UNLOGGED TABLE cache (n int);
"""


@pytest.mark.parametrize("name", ["schema public", "unlogged tables"])
def test_in_the_sources_database(
    name: str, source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """What is no failure, and which the operator may want to change."""
    database = fresh_database(source_cluster)
    execute(source_cluster, SOURCE.format(database=database), database)
    told = finding(look(place, source_cluster, database), name)
    assert told["status"] == "warning"
    execute(source_cluster, told["message"].split(" the source's database: ")[1], database)
    found = [entry["status"] for entry in look(place, source_cluster, database)["findings"] if entry["name"] == name]
    assert found in ([], ["ok"])


POWERFUL = """
CREATE ROLE "Su" SUPERUSER CREATEDB CONNECTION LIMIT 3; CREATE ROLE "Group"; GRANT "Group" TO "Su" WITH ADMIN OPTION;
ALTER ROLE "Su" SET search_path = "$user", 'a b'; ALTER ROLE "Su" SET "my.own" = 'it''s';
SET ROLE "Su"; CREATE TABLE couchdb (doc jsonb); CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER "Tells" ON ddl_command_end EXECUTE FUNCTION told(); CREATE PUBLICATION "All" FOR ALL TABLES;
"""


def test_a_superuser_of_the_source(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """Its rights in schema public, what only a superuser may own, and its properties."""
    name = fresh_database(source_cluster)
    execute(source_cluster, POWERFUL, name)
    execute(target_cluster, 'CREATE ROLE "Group"')

    def seen() -> dict[str, Any]:
        return look_at_target(place, target_cluster, name, look(place, source_cluster, name)["facts"])

    try:
        found = seen()
        assert failures(found) == ["rights", "schema public"]
        message = finding(found, "rights")["message"]
        assert 'CREATE ROLE "Su" SUPERUSER' in message
        execute(source_cluster, message.split("in the source's database: ")[1], name)
        execute(source_cluster, finding(found, "schema public")["message"].split("In the source's database: ")[1], name)
        found = seen()
        assert failures(found) == ["rights"]
        execute(source_cluster, finding(found, "rights")["message"].split("in the source's database: ")[1], name)
        found = seen()
        assert failures(found) == []
        execute(target_cluster, 'CREATE ROLE "Su"')
        statements = finding(seen(), "properties of roles")["details"]["statements"]
        assert len(statements) == 6
        for statement in statements:
            execute(target_cluster, statement)
        assert not [entry for entry in seen()["findings"] if entry["name"] == "properties of roles"]
    finally:
        seed.drop_database(source_cluster, name)
        for cluster in (source_cluster, target_cluster):
            execute(cluster, 'DROP ROLE IF EXISTS "Su"; DROP ROLE "Group"')


def test_a_partitioned_table_that_is_called_unlogged(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    execute(
        source_cluster,
        "CREATE TABLE couchdb (doc jsonb); CREATE UNLOGGED TABLE parts (id int) PARTITION BY LIST (id)",
        name,
    )
    for major, failed in ((16, ["schema on the target"]), (18, [])):
        there = {**place, "bin_dir": str(binaries.packaged()[major].bin_dir)}
        facts = look(there, source_cluster, name)["facts"]
        schema = schema_of(there, source_cluster, name)
        found = look_at_target(place, target_cluster, name, facts, schema=schema)
        assert failures(found) == failed
        if failed:
            assert "Install postgresql-client-18" in finding(found, "schema on the target")["message"]


@pytest.mark.parametrize(
    "harm",
    [
        'ALTER ROLE "Logs in" NOLOGIN',
        'ALTER ROLE "Logs in" CONNECTION LIMIT 0',
        'REVOKE CONNECT ON DATABASE "{database}" FROM PUBLIC',
        'ALTER DATABASE "{database}" CONNECTION LIMIT 0',
        'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false',
        "pg_hba.conf",
    ],
)
def test_a_login_that_is_refused(harm: str, source_cluster: Cluster, fresh_database: Fresh) -> None:
    name = fresh_database(source_cluster)
    password = seed.create_role(source_cluster, "Logs in")
    settings = ConnectionSettings(name, source_cluster.host, source_cluster.port, "Logs in", password)
    hba = source_cluster.data_directory / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    lines = "local all all scram-sha-256\nhost all postgres 127.0.0.1/32 scram-sha-256\n"

    def let_in(text: str) -> None:
        hba.write_text(text, encoding="utf-8")
        execute(source_cluster, "SELECT pg_reload_conf()")

    try:
        if harm == "pg_hba.conf":
            let_in(lines)
        else:
            execute(source_cluster, harm.format(database=name))
        wait_until("it is refused", lambda: refusal(settings))
        message = refusal(settings)
        if harm == "pg_hba.conf":
            let_in(lines + message.split("then run again: ")[1] + "\n")
        else:
            execute(source_cluster, message.split("as a superuser: ")[1])
        wait_until("it is let in", lambda: not refusal(settings))
    finally:
        let_in(before)
        seed.drop_database(source_cluster, name)
        execute(source_cluster, 'DROP ROLE "Logs in"')


def refusal(settings: ConnectionSettings) -> str:
    """What a login says that is refused; empty when it isn't."""
    try:
        Session(settings).close()
    except MigrationError as error:
        return error.message
    return ""


def test_what_a_role_may_not_read_any_more(target_cluster: Cluster, fresh_database: Fresh) -> None:
    name = fresh_database(target_cluster)
    execute(
        target_cluster,
        'CREATE SCHEMA "A.b"; CREATE TABLE "A.b"."c""d" (n int); CREATE VIEW v AS SELECT 1 AS n; CREATE ROLE "Reads"',
        name,
    )
    where = ConnectionSettings(name, target_cluster.host, target_cluster.port, password=target_cluster.password)
    everything = ['"A.b"."c""d"', "public.v"]
    try:
        with Session(where) as session:
            with pytest.raises(MigrationError) as caught:
                readable.check_readable_as_before("Reads", everything, readable.readable(session, "Reads"), "there")
            execute(
                target_cluster, caught.value.message.split("In the database there: ")[1].split(" then run")[0], name
            )
            assert readable.readable(session, "Reads") == everything
            execute(target_cluster, f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
            with pytest.raises(MigrationError) as caught:
                readable.readable(session, "Reads")
            execute(target_cluster, f"GRANT{caught.value.message.split(': GRANT')[1]}")
            assert readable.readable(session, "Reads") == everything
    finally:
        seed.drop_database(target_cluster, name)
        execute(target_cluster, 'DROP ROLE "Reads"')


NEEDS_AN_INDEX = """
CREATE FUNCTION sorted() RETURNS boolean LANGUAGE sql AS $$ SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = 'late_n') $$;
CREATE TABLE late (n int); CREATE INDEX late_n ON late (n); ALTER TABLE late ADD CONSTRAINT in_order CHECK (sorted());
INSERT INTO late VALUES (1);
"""


@pytest.mark.long
@pytest.mark.parametrize("method", ["archive", "stream"])
def test_a_cause_on_the_source(method: str, migration: Migration) -> None:
    """After the change there, the command that the message prints completes the migration."""
    execute(migration.source, NEEDS_AN_INDEX, migration.database)
    migration.variables["couch2pg_method"] = method
    message = migration.fail()
    assert "ADD CONSTRAINT ... CHECK (...) NOT VALID" in message
    change = "ALTER TABLE late DROP CONSTRAINT in_order, ADD CONSTRAINT in_order CHECK (sorted()) NOT VALID"
    execute(migration.source, change, migration.database)
    migration.succeed(*message.split("migrate -i inventory.yml ")[1].split())
    assert column(migration.target, "SELECT n FROM late", migration.database) == [1]


@pytest.mark.parametrize("module", ["pg_dump", rarely("pg_stream")])
def test_what_is_in_the_way_is_moved(
    module: str, source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """It is kept, and then the work goes on."""
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    final = Path(place["staging_dir"]) / "m"
    options = {**place, **login(source_cluster, name)}
    if module == "pg_stream":
        del options["staging_dir"]
        seed.create_role(target_cluster, seed.OWNER)
        options.update(
            login(target_cluster, name),
            source=login(source_cluster, name),
            incoming=f"{name}_incoming",
            archive=str(final),
        )
    try:
        for path in (final, layout.partial_folder(final)):
            path.mkdir(parents=True)
            (path / "of somebody").touch()
        for number in range(2):
            refused = run_module(module, options)
            assert refused["code"] == "archive_exists"
            there = re.split(" was not | is not ", refused["msg"])[0]
            assert f"Move it away ({shlex.join(['mv', there, f'{there}.kept'])})" in refused["msg"]
            Path(there).rename(final.with_name(f"away {number}"))
        done = run_module(module, options)
        assert not done.get("failed"), done
        assert all((final.with_name(f"away {number}") / "of somebody").exists() for number in range(2))
    finally:
        seed.drop_database(target_cluster, f"{name}_incoming")


def test_an_index_that_is_invalid(source_cluster: Cluster, fresh_database: Fresh) -> None:
    """And a table without statistics: both may make a query of a dashboard slow."""
    name = fresh_database(source_cluster)
    execute(
        source_cluster,
        'CREATE TABLE "A b" (n int); CREATE INDEX "Of n" ON "A b" (n); INSERT INTO "A b" VALUES (1)',
        name,
    )
    execute(source_cluster, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"Of n\"'::regclass", name)
    plan: list[dict[str, Any]] = [{"schema": "public", "relation": "A b", "index": None, "node": "Seq Scan"}]
    where = ConnectionSettings(name, source_cluster.host, source_cluster.port, password=source_cluster.password)
    with Session(where) as session:

        def advice() -> list[str]:
            side = {"plan": plan, "relations": query_plan.relations(session, plan)}
            return query_plan.advice(side, side)

        found = advice()
        assert len(found) == 2, found
        for sentence in found:
            execute(source_cluster, sentence.partition("On the target, run: ")[2], name)
        assert "The servers use the same plan" in advice()[0]


NAMES = """
CREATE ROLE "Gone"; CREATE TABLE couchdb (doc jsonb); CREATE TABLE later (what regclass); CREATE INDEX of_doc ON couchdb (doc);
INSERT INTO later VALUES ('of_doc'); CREATE TABLE rights (what aclitem); INSERT INTO rights VALUES ('"Gone"=r/postgres');
ALTER TABLE couchdb OWNER TO couch2pg; DROP ROLE "Gone";
"""


def test_values_that_name_what_the_target_lacks(
    source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    execute(source_cluster, NAMES, name)
    for table in ("rights", "later"):
        found = look(place, source_cluster, name)["findings"]
        (message,) = (entry["message"] for entry in found if entry["status"] == "failure")
        assert f"The column public.{table}.what has" in message
        (statement,) = re.findall(r"\((ALTER TABLE .*? USING .*?)\), then run again", message)
        for value in (table, "what", "what"):
            statement = statement.replace("...", value, 1)
        execute(source_cluster, statement, name)
    assert failures(look(place, source_cluster, name)) == []
