# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that speaks French: what it says is recognised by its codes, and our sessions ask it for English where they may."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.messages import sentence
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.findings import Findings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.preflight import message_language, text_keys
from support import binaries, places, seed
from support.cases import rarely
from support.clusters import Cluster
from support.migration import column, execute
from support.phases import Phases
from support.preflight import finding, look, look_at_target, schema_of

FRENCH = "fr_FR.UTF-8"
COUCH2PG = """
CREATE TABLE couchdb (doc jsonb, id int PRIMARY KEY);
INSERT INTO couchdb SELECT jsonb_build_object('_id', n), n FROM generate_series(1, 20) AS n;
CREATE TABLE child (id int REFERENCES couchdb);
CREATE INDEX ON child (id);
"""
FOREIGN = """
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname '{database}');
CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'postgres', password '{password}');
CREATE FOREIGN TABLE far_table (id int) SERVER far OPTIONS (table_name 'couchdb');
CREATE MATERIALIZED VIEW over_far AS SELECT id FROM far_table {data};
CREATE MATERIALIZED VIEW "over.over" AS SELECT id FROM over_far {data};
"""


@pytest.fixture(scope="module")
def french() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="fr-", dir=places.work_folder("clusters")))
    locales = folder / "locales"
    locales.mkdir()
    try:
        found = binaries.translated()
        subprocess.run(["localedef", "-i", "fr_FR", "-f", "UTF-8", "--no-archive", str(locales / FRENCH)], check=True)
    except (places.SupportError, FileNotFoundError, subprocess.CalledProcessError) as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    folder.chmod(0o755)
    with Cluster.create(
        folder / "cluster", replace(found, locale_dir=locales), settings={"lc_messages": FRENCH}
    ) as made:
        yield made
    shutil.rmtree(folder)


@pytest.fixture
def phases(french: Cluster, database_name: str, tmp_path: Path) -> Iterator[Phases]:
    """From and to the same server: the incoming database stands beside the source."""
    seed.create_role(french, seed.OWNER)
    seed.create_database(french, database_name)
    execute(french, COUCH2PG, database_name)
    made = Phases(french, french, database_name, french.binaries.bin_dir, tmp_path)
    yield made
    for name in (made.incoming, database_name):
        seed.drop_database(french, name)


@pytest.mark.parametrize(
    ("change", "statement", "code", "state"),
    [
        ({"database": "nosuch"}, "", "database_missing", "3D000"),
        ({"password": "wrong"}, "", "authentication", "28P01"),
        ({"user": "closed"}, "", "authentication", "28000"),
        ({"user": "couch2pg"}, "REVOKE CONNECT ON DATABASE template1 FROM PUBLIC", "authentication", "42501"),
        ({"port": 1}, "", "unreachable", None),
    ],
)
def test_a_refused_login(french: Cluster, change: dict[str, str], statement: str, code: str, state: str | None) -> None:
    seed.create_role(french, "closed")
    seed.create_role(french, "couch2pg")
    execute(french, f"ALTER ROLE closed NOLOGIN; {statement}")
    user = change.get("user", "postgres")
    options = {"database": "template1", "host": french.host, "port": french.port, "user": user}
    settings = ConnectionSettings(**{"password": french.password_of(user), **options, **change})  # type: ignore[arg-type]
    with pytest.raises(MigrationError) as caught:
        Session(settings)
    assert (caught.value.code, caught.value.details.get("sqlstate")) == (code, state), caught.value.message


@pytest.mark.long
def test_post_data_that_was_interrupted_is_resumed(phases: Phases) -> None:
    """Case french-server: what an earlier attempt has built is recognised."""
    assert not phases.dump().get("failed")
    assert not phases.restore(replace_existing=True).get("failed")
    # As a kill leaves it that comes just before the end.
    state = phases.folder / "state" / "source" / "test"
    (state / "jobs" / "restore" / "result.json").unlink()
    for path in state.glob("*.json"):
        steps = json.loads(path.read_text(encoding="utf-8"))
        if "done" in steps:
            steps["done"] = {
                name: value for name, value in steps["done"].items() if name not in ("post-data", "digests")
            }
            path.write_text(json.dumps(steps), encoding="utf-8")
    resumed = phases.restore(replace_existing=True)
    assert not resumed.get("failed"), resumed
    assert "built_before" in {message["kind"] for message in resumed["harmless_messages"]}
    assert not phases.verify().get("failed")


@pytest.mark.parametrize("data", ["WITH DATA", rarely("WITH NO DATA")])
def test_a_foreign_server_that_does_not_answer(phases: Phases, french: Cluster, data: str) -> None:
    """Case view-over-foreign-server: its error is not one of our own connection. What had no data may stay so."""
    values = {"port": french.port, "database": phases.database, "password": french.password, "data": data}
    execute(phases.source, FOREIGN.format(**values), phases.database)
    assert not phases.dump().get("failed")
    assert not phases.restore(replace_existing=True).get("failed")
    execute(phases.target, "ALTER SERVER far OPTIONS (SET port '1')", phases.incoming)
    refreshed = phases.refresh()
    if data == "WITH DATA":
        assert refreshed["code"] == "refresh_failed"
        assert "public.over_far" in refreshed["msg"]
        assert 'server "far"' in refreshed["msg"]
        assert "ALTER SERVER" in refreshed["msg"]
        return
    kept = {entry["matview"]: entry["error"] for entry in refreshed["not_populated"]}
    assert set(kept) == {"public.over_far", 'public."over.over"'}
    assert 'server "far"' in kept["public.over_far"]
    execute(phases.target, f"ALTER SERVER far OPTIONS (SET port '{french.port}')", phases.incoming)
    notices = phases.verify()["notices"]
    assert "public.over_far has no data, as on the source" in notices[1]
    # Later it can be refreshed, or dropped.
    assert not phases.refresh().get("changed")
    execute(phases.target, notices[1].split("refresh it (")[1].split(")", maxsplit=1)[0], phases.incoming)
    execute(phases.target, notices[0].split("drop it (")[1].split(")", maxsplit=1)[0], phases.incoming)
    left = column(phases.target, "SELECT relname FROM pg_class WHERE relkind = 'm' AND relispopulated", phases.incoming)
    assert left == ["over_far"]


def test_preflight_names_a_role_that_hears_french(french: Cluster) -> None:
    """And its remedy helps."""
    password = seed.create_role(french, "couch2pg")
    settings = ConnectionSettings("postgres", french.host, french.port, "couch2pg", password)
    with Session(settings) as session:
        problem = message_language.problem(session)
    assert FRENCH in problem
    execute(french, problem.rsplit(": ", 1)[1])
    with Session(settings) as session:
        assert not message_language.problem(session)
    with Session(replace(settings, user="postgres", password=french.password)) as session:
        assert not message_language.problem(session)


ICU = "CREATE DATABASE \"{}\" OWNER couch2pg LOCALE_PROVIDER icu ICU_LOCALE 'fr' LC_COLLATE '{}' LC_CTYPE '{}' TEMPLATE template0"
NAMES = """
CREATE TABLE names (name text, live boolean);
CREATE UNIQUE INDEX "names lower" ON names (lower(name)) WHERE live;
INSERT INTO names VALUES ('Éve', true), ('eve', true), ('Zoé', false);
"""


@pytest.mark.long
def test_a_database_of_icu(french: Cluster, database_name: str, tmp_path: Path) -> None:
    """It arrives. After a new version of ICU its unique indexes are searched for equal keys."""
    seed.create_role(french, seed.OWNER)
    execute(french, ICU.format(database_name, FRENCH, FRENCH))
    execute(french, COUCH2PG + NAMES, database_name)
    phases = Phases(french, french, database_name, french.binaries.bin_dir, tmp_path)
    settings = ConnectionSettings(database_name, french.host, french.port, password=french.password)

    def keys_of_text() -> Findings:
        findings = Findings()
        with Session(settings) as session:
            text_keys.examine(session, findings)
        return findings

    try:
        for result in (
            phases.dump(),
            phases.restore(replace_existing=True),
            phases.refresh(),
            phases.verify(recount=True),
        ):
            assert not result.get("failed"), result
        query = "SELECT datlocprovider::text || daticulocale || datcollate FROM pg_database WHERE datname = '{}'"
        assert column(french, query.format(phases.incoming)) == [f"ifr{FRENCH}"]
        assert keys_of_text().found == []
        execute(french, f"UPDATE pg_database SET datcollversion = '1.0' WHERE datname = '{database_name}'")
        (sound,) = keys_of_text().found
        assert (sound.status, "No equal keys" in sound.message) == ("warning", True)
        ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = '\"names lower\"'::regclass"
        execute(french, ready.format("false"), database_name)
        execute(french, "INSERT INTO names VALUES ('ÉVE', true), (NULL, true), (NULL, true)", database_name)
        execute(french, ready.format("true"), database_name)
        (broken,) = keys_of_text().found
        assert broken.status == "failure"
        # What it prints finds the rows, and what it says to do helps.
        assert column(french, broken.message.split('with "')[1].split('", correct')[0], database_name) == ["éve"]
        execute(french, "DELETE FROM names WHERE name = 'ÉVE'; REINDEX INDEX \"names lower\"", database_name)
        assert keys_of_text().found[0].status == "warning"
    finally:
        for name in (phases.incoming, database_name):
            seed.drop_database(french, name)


@pytest.fixture
def plain(french: Cluster) -> Iterator[Cluster]:
    """A target whose host has no locales."""
    folder = Path(tempfile.mkdtemp(prefix="plain-", dir=places.work_folder("clusters")))
    nothing = folder / "locales"
    nothing.mkdir()
    folder.chmod(0o755)
    with Cluster.create(folder / "cluster", replace(french.binaries, locale_dir=nothing)) as made:
        seed.create_role(made, seed.OWNER)
        yield made
    shutil.rmtree(folder)


def install_locales(plain: Cluster, french: Cluster) -> None:
    """As the messages say, with a restart."""
    plain.stop()
    plain.binaries = french.binaries
    plain.start()


def test_an_icu_database_where_the_c_library_lacks_its_names(
    french: Cluster, plain: Cluster, database_name: str, tmp_path: Path
) -> None:
    """Case icu-database: preflight names the locale, and when it is installed, the same check is content."""
    seed.create_role(french, seed.OWNER)
    execute(french, ICU.format(database_name, FRENCH, FRENCH))
    execute(french, "CREATE TABLE couchdb (doc jsonb)", database_name)
    place = {
        "migration_id": "m",
        "state_dir": str(tmp_path / "state"),
        "staging_dir": str(tmp_path / "staging"),
        "bin_dir": str(french.binaries.bin_dir),
    }
    try:
        facts = look(place, french, database_name)["facts"]
        told = finding(look_at_target(place, plain, database_name, facts), "locale")
        assert told["status"] == "failure"
        assert f"The C library on the target's host doesn't have the locale '{FRENCH}'" in told["message"]
        install_locales(plain, french)
        assert finding(look_at_target(place, plain, database_name, facts), "locale")["status"] == "ok"
    finally:
        seed.drop_database(french, database_name)


def test_a_collation_whose_locale_the_target_lacks(
    french: Cluster, plain: Cluster, phases: Phases, tmp_path: Path
) -> None:
    execute(
        french, f"CREATE COLLATION own (LOCALE = '{FRENCH}'); CREATE TABLE words (a text COLLATE own)", phases.database
    )
    place = {
        "migration_id": "m",
        "state_dir": str(tmp_path / "state"),
        "staging_dir": str(tmp_path / "staging"),
        "bin_dir": str(french.binaries.bin_dir),
    }

    def tried() -> dict[str, Any]:
        facts = look(place, french, phases.database)["facts"]
        schema = schema_of(place, french, phases.database)
        return finding(look_at_target(place, plain, phases.database, facts, schema=schema), "schema on the target")

    message = tried()["message"]
    assert f"Install the locale {FRENCH} on the target's host" in message
    # It doesn't exist because it could not be created.
    assert '"public.own" for encoding' not in message
    install_locales(plain, french)
    assert tried()["status"] == "ok"


LACKING = """
CREATE TABLE small (t text COMPRESSION lz4);
CREATE FUNCTION numbered() RETURNS trigger LANGUAGE c AS '$libdir/autoinc', 'autoinc';
CREATE COLLATION nordic (provider = icu, locale = 'sv');
CREATE TABLE sorted (t text COLLATE nordic, u text COLLATE "fr-x-icu");
CREATE TABLE forms (form xml DEFAULT '<a/>');
"""


def test_what_the_target_was_built_without(
    french: Cluster, target_cluster: Cluster, phases: Phases, tmp_path: Path
) -> None:
    """Debian's PostgreSQL has lz4, ICU, libxml and the libraries of contrib, that of the tests has none of them. The remedies help."""
    execute(french, LACKING, phases.database)
    seed.create_role(target_cluster, seed.OWNER)
    place = {
        "migration_id": "m",
        "state_dir": str(tmp_path / "state"),
        "staging_dir": str(tmp_path / "staging"),
        "bin_dir": str(french.binaries.bin_dir),
    }

    def tried(target: Cluster) -> dict[str, Any]:
        # The same server may be both.
        facts = {**look(place, french, phases.database)["facts"], "running_server": ""}
        schema = schema_of(place, french, phases.database)
        found = look_at_target(place, target, f"{phases.database}_there", facts, schema=schema)
        return finding(found, "schema on the target")

    failed = tried(target_cluster)
    told = {row["kind"]: sentence(row) for row in failed["details"]["statements"]}
    assert set(told) == {"without_lz4", "library_missing", "without_icu", "without_xml", "object_missing"}
    # The collation doesn't exist because it could not be created.
    assert '"public.nordic" for encoding' not in failed["message"]
    assert "Install the package that holds the library autoinc on the target" in told["library_missing"]
    for kind in ("lz4", "icu", "xml"):
        assert "Use PostgreSQL packages that have it" in told[f"without_{kind}"]
    # These have all of it.
    assert tried(french)["status"] == "ok"
    remedy = told["without_lz4"].split("on the source: ")[1].rstrip(".")
    execute(french, remedy.replace("TABLE ...", "TABLE small").replace("COLUMN ...", "COLUMN t"), phases.database)
    execute(french, "DROP FUNCTION numbered(); DROP TABLE sorted, forms; DROP COLLATION nordic", phases.database)
    assert tried(target_cluster)["status"] == "ok"


@pytest.mark.long
def test_xml_on_a_server_that_was_built_without_it(
    french: Cluster, target_cluster: Cluster, phases: Phases, client_dir: Path, tmp_path: Path
) -> None:
    """It has the type, and refuses each value: a column without one moves."""
    columns = "id int, form xml, list xml[], CHECK (form IS NULL OR id > 0)"
    execute(
        french,
        f"CREATE TABLE forms ({columns}); INSERT INTO forms VALUES (1, '<a/>', NULL), (2, NULL, NULL)",
        phases.database,
    )
    place = {"migration_id": "m", "state_dir": str(tmp_path), "staging_dir": str(tmp_path), "bin_dir": str(client_dir)}

    def tried() -> list[str]:
        facts = look(place, french, phases.database)["facts"]
        found = look_at_target(place, target_cluster, phases.database, facts)["findings"]
        return [entry["message"] for entry in found if entry["name"] == "xml"]

    assert "can't hold the values of public.forms.form. " in tried()[0]
    execute(french, "UPDATE forms SET form = NULL", phases.database)
    assert tried() == []
    assert not phases.dump().get("failed")
    phases.target, phases.bin_dir = target_cluster, client_dir
    try:
        for phase in (phases.restore, phases.verify):
            result = phase()
            assert not result.get("failed"), result
    finally:
        seed.drop_database(target_cluster, phases.incoming)
