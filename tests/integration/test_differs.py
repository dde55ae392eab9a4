# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that hold what few do, between servers that differ: everything is carried over, or said before."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence import digest
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.objects import read_objects
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import binaries, seed
from support.binaries import Binaries
from support.clusters import Cluster
from support.migration import Migration, column, execute
from support.modules import login, run_module
from support.places import work_folder

ODD_READER = "Odd Reader"
SUBSCRIBE = (
    "CREATE SUBSCRIPTION follower CONNECTION 'host=127.0.0.1 port=1 password=subscribers-secret' PUBLICATION p "
    "WITH (connect = false, enabled = false, slot_name = NONE)"
)

Make = Callable[..., Migration]
OwnExtension = Callable[[str, str, list[str]], None]


def add_rarities(cluster: Cluster, database: str) -> None:
    """What seed doesn't hold, beside it."""
    seed.create_role(cluster, ODD_READER)
    for major, name in ((10, "rarities"), (16, "rarities-16")):
        if cluster.binaries.major >= major:
            execute(cluster, (seed.SQL / f"{name}.sql").read_text(encoding="utf-8"), database)


def session(cluster: Cluster, database: str) -> Session:
    return Session(ConnectionSettings(database, cluster.host, cluster.port, password=cluster.password))


@pytest.fixture
def own_extensions(extension_folder: Path) -> OwnExtension:
    """Call it with name, default version and all versions: an extension of that name for the target's sessions."""

    def make(name: str, default: str, versions: list[str]) -> None:
        (extension_folder / f"{name}.control").write_text(f"default_version = '{default}'\n", encoding="utf-8")
        for version in versions:
            (extension_folder / f"{name}--{version}.sql").write_text("", encoding="utf-8")

    return make


@pytest.mark.long
def test_a_database_that_holds_everything(
    make_migration: Make, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    """A name with a space, and all that PostgreSQL has and can be carried over."""
    migration = make_migration(source_cluster, target_cluster, documents=seed.MINIMUM)
    plain = migration.database
    migration.database = f"{plain} of the ministry"
    execute(migration.source, f'ALTER DATABASE {plain} RENAME TO "{migration.database}"')
    migration.name = "everything"
    add_rarities(migration.source, migration.database)
    execute(migration.source, SUBSCRIBE, migration.database)
    try:
        migration.succeed()
    finally:
        execute(migration.source, "DROP SUBSCRIPTION follower", migration.database)
    for path in migration.archive.rglob("*"):
        assert path.is_dir() or b"subscribers-secret" not in path.read_bytes()


# What a deployment's own objects can meet: run by a superuser on PostgreSQL 10, where a session finds names in public.
UNQUALIFIED = """
SET search_path = public;
SET ROLE couch2pg;
CREATE FUNCTION inner_part(doc jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT doc ->> ''_id''';
CREATE FUNCTION id_of(doc jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN inner_part(doc); END';
CREATE FUNCTION how_many("Odd Arg" "rare"."pair") RETURNS bigint LANGUAGE plpgsql STABLE AS
    'BEGIN RETURN (SELECT count(*) FROM couchdb); END';
CREATE INDEX by_id ON couchdb (id_of(doc));
CREATE TABLE checked (doc jsonb CONSTRAINT has_id CHECK (id_of(doc) IS NOT NULL));
INSERT INTO checked SELECT '{"_id": "a"}';
CREATE VIEW between_them AS SELECT how_many(NULL) AS n;
CREATE MATERIALIZED VIEW population AS SELECT * FROM between_them;
CREATE UNIQUE INDEX population_n ON population (n);
RESET ROLE;
"""
PATHS = {"public.how_many(rare.pair)": "public, pg_temp", "public.id_of(jsonb)": "public, pg_temp"}


def named(findings: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [finding for finding in findings if finding["name"] == name]
    return found


@pytest.mark.long
def test_roles_with_other_names_and_functions_that_need_a_search_path(
    make_migration: Make, old_cluster: Cluster, target_cluster: Cluster, own_extensions: OwnExtension
) -> None:
    """From 10 to 18 without a change of the source: one role renamed, one revoked, functions fixed on the target only."""
    migration = make_migration(old_cluster, target_cluster, documents=seed.MINIMUM)
    database, target = migration.database, migration.target
    add_rarities(migration.source, database)
    execute(migration.source, f"{UNQUALIFIED}; CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext", database)
    own_extensions("hstore", "1.8", ["1.4", "1.8"])
    seed.create_role(target, seed.READER)
    for statement in (
        f"ALTER DATABASE {database} SET operator_precedence_warning = on",
        f"ALTER ROLE couch2pg IN DATABASE {database} SET search_path = public, rare",
    ):
        execute(migration.source, statement)
    for role in ("moved_app", ODD_READER):
        execute(target, f'DROP ROLE IF EXISTS "{role}"')
    # The old name is somebody else's here, who owns and may do something elsewhere.
    seed.drop_database(target, "elsewhere")
    execute(target, "CREATE DATABASE elsewhere OWNER couch2pg")
    refused = migration.fail()
    assert "couch2pg_function_search_path: {'public.id_of(jsonb)': 'public, pg_temp'}" in refused
    assert "couch2pg_function_search_path: {'public.how_many(rare.pair)': 'public, pg_temp'}" in refused
    assert database not in migration.databases()
    migration.variables |= {
        "couch2pg_function_search_path": PATHS,
        "couch2pg_role_map": {"couch2pg": "moved_app"},
        "couch2pg_missing_roles": "revoke",
        "couch2pg_extension_versions": {"hstore": "1.4"},
    }
    try:
        migration.succeed()
        findings = migration.record["phases"]["preflight"]["result"]["target"]
        assert "couch2pg becomes moved_app" in named(findings, "renamed roles")["message"]
        assert f"The target lacks {ODD_READER}" in named(findings, "revoked roles")["message"]
        assert "operator_precedence_warning=on" in named(findings, "settings")["message"]
        restored = migration.record["phases"]["restore"]["result"]
        assert restored["moved_roles"] == {"couch2pg": "moved_app", ODD_READER: None}
        assert restored["created_roles"] == ["moved_app"]
        assert restored["settings_left_out"] == ["operator_precedence_warning=on"]
        # Seen from outside: nothing of the old role is left here, and all of it elsewhere.
        assert column(
            target,
            "SELECT count(*) FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid "
            f"WHERE d.datname = '{database}' AND refobjid = 'couch2pg'::regrole",
        ) == [0]
        assert column(
            target, "SELECT datname FROM pg_database WHERE datdba = 'couch2pg'::regrole AND datname = 'elsewhere'"
        )
        assert column(target, f"SELECT rolname FROM pg_roles WHERE rolname = '{ODD_READER}'") == []
        extension = (
            "SELECT extversion || ' in ' || extnamespace::regnamespace FROM pg_extension WHERE extname = 'hstore'"
        )
        assert column(target, extension, database) == ["1.4 in ext"]
        assert column(target, "SELECT population.n > 0 FROM population", database) == [True]
        owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'm', 'S') ORDER BY 1"
        assert column(target, owners, database) == ["moved_app"]
        assert column(target, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'moved_app'") == [False]
        assert migration.succeed().changed == 0
    finally:
        for name in (database, f"{database}_incoming", "elsewhere"):
            seed.drop_database(target, name)
        execute(target, "DROP ROLE IF EXISTS moved_app")


@pytest.fixture(scope="module")
def rare(source_cluster: Cluster) -> Iterator[str]:
    """A database on 16 with all the rarities, and some that are not carried over."""
    name = "rare things"
    seed.seed(source_cluster, name, documents=seed.MINIMUM, huge=False)
    add_rarities(source_cluster, name)
    execute(
        source_cluster,
        "CREATE PUBLICATION everything FOR ALL TABLES; GRANT couch2pg TO superset;"
        "ALTER PUBLICATION everything OWNER TO postgres; CREATE TABLE sorted_by (t text) PARTITION BY RANGE (t)",
        name,
    )
    execute(source_cluster, SUBSCRIBE, name)
    execute(source_cluster, "DROP ROLE IF EXISTS clerk; CREATE ROLE clerk LOGIN IN ROLE superset")
    yield name
    execute(source_cluster, "REVOKE couch2pg FROM superset; DROP ROLE clerk")
    execute(source_cluster, "DROP SUBSCRIPTION follower", name)
    seed.drop_database(source_cluster, name)


def look(place: dict[str, Any], cluster: Cluster, database: str, **options: Any) -> dict[str, Any]:
    return run_module("preflight", {**login(cluster, database), **place, "side": "source", **options})


def look_at_target(
    place: dict[str, Any], cluster: Cluster, facts: dict[str, Any], **options: Any
) -> list[dict[str, Any]]:
    given = {**login(cluster, "not_yet"), **place, "side": "target", "source": facts, "incoming": "x", **options}
    found: list[dict[str, Any]] = run_module("preflight", given)["findings"]
    return found


def failures(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["name"] for finding in findings if finding["status"] == "failure"]


def test_what_the_source_holds_is_told_before_the_run(
    rare: str, source_cluster: Cluster, place: dict[str, Any]
) -> None:
    found = look(place, source_cluster, rare)["findings"]
    assert failures(found) == []
    contents = named(found, "contents")["message"]
    for words in ("4 partitioned tables", "1 foreign table,", "1 generated column,", "3 policies", "1 event trigger,"):
        assert words in contents
    assert "rare.cache" in named(found, "unlogged tables")["message"]
    assert "couch2pg on the ministry" in named(found, "user mappings")["message"]
    assert named(found, "large objects")["message"].startswith("3, copied")
    assert "rare.secrets" in named(found, "row-level security")["message"]
    assert "changes, everything, filtered, whole_schema are copied" in named(found, "publications")["message"]
    assert "clerk (of superset)" in named(found, "members of roles")["message"]
    left = named(found, "not copied")
    assert left["status"] == "warning"
    assert "subscriptions follower" in left["message"]
    assert "passwords and logins of roles" in left["details"]["items"]
    assert "seen-nowhere" not in str(found)
    # One who may read every table still doesn't see every row, nor every large object.
    password = seed.create_role(source_cluster, "reads_all")
    execute(source_cluster, "GRANT pg_read_all_data TO reads_all")
    execute(source_cluster, f'GRANT CONNECT ON DATABASE "{rare}" TO reads_all')
    try:
        found = look(place, source_cluster, rare, login_user="reads_all", login_password=password)["findings"]
        assert "hides rows of rare.secrets from the role 'reads_all'" in named(found, "row-level security")["message"]
        assert "may not read" in named(found, "large objects")["message"]
        assert set(failures(found)) == {"row-level security", "large objects"}
    finally:
        execute(source_cluster, f'REVOKE ALL ON DATABASE "{rare}" FROM reads_all; DROP ROLE reads_all')


def test_what_differs_on_the_target_is_told_before_the_run(
    rare: str, source_cluster: Cluster, target_cluster: Cluster, place: dict[str, Any]
) -> None:
    facts = look(place, source_cluster, rare)["facts"]
    for role in ("couch2pg", "superset", "dumper"):
        seed.create_role(target_cluster, role)
    execute(target_cluster, f'DROP ROLE IF EXISTS "{ODD_READER}"')
    sound = look_at_target(place, target_cluster, facts)
    assert failures(sound) == []
    assert named(sound, "roles")["details"]["roles"] == [ODD_READER]
    assert 'GRANT "couch2pg" TO "superset"' in named(sound, "properties of roles")["message"]
    # Roles: another name for one, nothing for another; a map that can't be followed.
    moved = look_at_target(place, target_cluster, facts, role_map={"couch2pg": "dumper"}, missing_roles="revoke")
    assert "The password is not copied" in named(moved, "renamed roles")["message"]
    assert named(moved, "revoked roles")["details"]["roles"] == [ODD_READER]
    assert failures(moved) == []
    for role_map, words in (
        ({"couch2pgg": "x"}, "needs no such role"),
        ({"couch2pg": "superset", "superset": "x"}, "which it renames as well"),
        ({"couch2pg": "pg_x"}, "Choose another name"),
    ):
        assert words in named(look_at_target(place, target_cluster, facts, role_map=role_map), "roles")["message"]
    # An event trigger needs a superuser, to be made and to be its owner.
    password = seed.create_role(target_cluster, "dumper")
    execute(
        target_cluster,
        "ALTER ROLE dumper CREATEDB CREATEROLE; GRANT couch2pg, superset, postgres TO dumper",
    )
    guest = {"login_user": "dumper", "login_password": password}
    assert (
        "Only a superuser can create event trigger watch_ddl"
        in named(look_at_target(place, target_cluster, facts, **guest), "rights")["message"]
    )
    execute(
        target_cluster, "REVOKE couch2pg, superset, postgres FROM dumper; ALTER ROLE dumper NOCREATEDB NOCREATEROLE"
    )
    owned = dict(facts, superuser_objects=[{"object": "event trigger watch_ddl", "owner": "superset"}])
    assert (
        "belongs to 'superset', which must be a superuser"
        in named(look_at_target(place, target_cluster, owned), "rights")["message"]
    )
    # The database that the operator made belongs to somebody else.
    seed.create_database(target_cluster, "not_yet", "postgres")
    try:
        message = named(look_at_target(place, target_cluster, facts), "schema public")["message"]
        assert 'On the target: ALTER DATABASE "not_yet" OWNER TO "couch2pg";' in message
    finally:
        seed.drop_database(target_cluster, "not_yet")
    # Tablespaces: not there, or not wanted.
    facts["sizes"]["tablespaces"] = {"fast": 1}
    assert failures(look_at_target(place, target_cluster, facts)) == ["tablespaces"]
    lent = look_at_target(place, target_cluster, facts, tablespaces="default")
    assert "Not copied: the tablespaces fast" in named(lent, "tablespaces")["message"]
    assert failures(lent) == []
    facts["sizes"]["tablespaces"] = {}
    # What a server loads at its start.
    facts["preload_libraries"] = ["auto_explain"]
    assert (
        "loads auto_explain at its start" in named(look_at_target(place, target_cluster, facts), "libraries")["message"]
    )


CATALOG_VIEWS = """
CREATE TABLE couchdb (doc jsonb);
CREATE EXTENSION pg_stat_statements;
CREATE VIEW aggregates AS SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.proisagg;
CREATE VIEW writers AS SELECT buffers_backend, checkpoints_timed FROM pg_stat_bgwriter;
CREATE VIEW slow AS SELECT query, total_time FROM pg_stat_statements;
CREATE VIEW fine AS SELECT c.relname, s.n_live_tup, calls FROM pg_class c, pg_stat_user_tables s, pg_stat_statements;
"""


def test_extensions_and_catalogs_of_other_versions(
    fresh_database: Callable[[Cluster], str],
    old_cluster: Cluster,
    target_cluster: Cluster,
    own_extensions: OwnExtension,
    place: dict[str, Any],
) -> None:
    name = fresh_database(old_cluster)
    execute(old_cluster, CATALOG_VIEWS, name)
    facts = look(place, old_cluster, name)["facts"]
    missing = look_at_target(place, target_cluster, facts)
    assert "lacks the extension pg_stat_statements" in named(missing, "extensions")["message"]
    own_extensions("pg_stat_statements", "1.3", ["1.3", "1.6", "1.12"])
    older = named(look_at_target(place, target_cluster, facts), "extensions")["message"]
    assert "is 1.3, older than the source's 1.6" in older
    assert "couch2pg_extension_versions: {pg_stat_statements: '1.3'}" in older
    accepted = look_at_target(place, target_cluster, facts, extension_versions={"pg_stat_statements": "1.3"})
    assert named(accepted, "extensions")["status"] == "ok"
    lacks = look_at_target(place, target_cluster, facts, extension_versions={"pg_stat_statements": "1.9"})
    assert "doesn't have pg_stat_statements 1.9" in named(lacks, "extensions")["message"]
    strange = look_at_target(place, target_cluster, facts, extension_versions={"postgis": "3"})
    assert "contains postgis" in named(strange, "extensions")["message"]
    own_extensions("pg_stat_statements", "1.12", [])
    newer = look_at_target(place, target_cluster, facts)
    assert "1.6 becomes 1.12" in named(newer, "extensions")["message"]
    gone = named(newer, "views of catalogs")
    assert gone["status"] == "failure"
    assert sorted(f"{row['view']} {row['column']}" for row in gone["details"]["columns"]) == [
        "public.aggregates proisagg",
        "public.slow total_time",
        "public.writers buffers_backend",
        "public.writers checkpoints_timed",
    ]
    assert "the views public.fine, public.slow only give errors" in named(newer, "libraries")["message"]
    execute(old_cluster, "DROP VIEW aggregates, writers, slow", name)
    fixed = look_at_target(place, target_cluster, look(place, old_cluster, name)["facts"])
    assert named(fixed, "views of catalogs")["status"] == "ok"


@dataclass(frozen=True)
class Localized(Binaries):
    """Servers that find a locale of our own."""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "LOCPATH": str(work_folder("locales"))}


def test_collations_of_another_version(place: dict[str, Any]) -> None:
    locale = work_folder("locales") / "en_US.utf8"
    subprocess.run(["localedef", "-i", "en_US", "-f", "UTF-8", str(locale)], check=True)
    binaries_ = binaries.binaries(18)
    folder = Path(tempfile.mkdtemp(prefix="18-", dir=work_folder("clusters")))
    localized = Localized(18, binaries_.bin_dir, binaries_.library_dir)
    try:
        with Cluster.create(folder, localized) as cluster:
            execute(cluster, "CREATE DATABASE sorted TEMPLATE template0 LOCALE 'en_US.utf8'")
            execute(
                cluster,
                "CREATE TABLE couchdb (doc jsonb); CREATE COLLATION english (LOCALE = 'en_US.utf8');"
                "CREATE TABLE areas (name text COLLATE english) PARTITION BY RANGE (name)",
                "sorted",
            )
            facts = look(place, cluster, "sorted")["facts"]
            # It is both sides here, which is refused where it is so.
            facts["running_server"] = "another"
            same = named(look_at_target(place, cluster, facts), "collation")
            assert same["status"] == "ok"
            version = facts["sorting"]["collations"][0]["version"]
            for row in facts["sorting"]["collations"]:
                row["version"] = "2.28"
            other = named(look_at_target(place, cluster, facts), "collation")
            assert other["status"] == "warning"
            assert f"en_US.utf8 (glibc 2.28 on the source, {version} here)" in other["message"]
            assert "Rows of public.areas are put into the partitions that they belong to here" in other["message"]
            facts["sorting"]["collations"][1]["locale"] = "xx_XX.utf8"
            absent = named(look_at_target(place, cluster, facts), "collation")
            assert "doesn't have the locale 'xx_XX.utf8'" in absent["message"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(locale.parent)


TABLES = 5_000
MANY = """
DO $$
BEGIN
    FOR n IN {}..{} LOOP
        EXECUTE format('CREATE TABLE "table %s" AS SELECT %s AS n', n, n);
    END LOOP;
END
$$;
"""
PLAY = """
- hosts: couch2pg_source
  gather_facts: false
  roles:
    - {role: cht.couch2pg.preflight, preflight_side: source}
    - cht.couch2pg.dump
    - {role: cht.couch2pg.verify, verify_database: "{{ couch2pg_database }}", verify_recount: true}
"""


@pytest.mark.long
def test_very_many_tables(
    fresh_database: Callable[[Cluster], str], source_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    """Nothing takes a time that grows with the square of their number, and there is room for all their locks."""
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    seconds = []
    for first in range(1, TABLES, 1_000):
        execute(source_cluster, MANY.format(first, first + 999), name)
        if first in (1, TABLES - 999):
            seconds.append(time_to_look(source_cluster, name))
    # Five times the tables; with something quadratic in it, it would be 25 times.
    assert seconds[1] < 12 * seconds[0] + 1, seconds
    migration = Migration(source_cluster, source_cluster, client_dir, tmp_path, name)
    (tmp_path / "many.yml").write_text(PLAY, encoding="utf-8")
    run = migration.run(str(tmp_path / "many"))
    assert run.code == 0, run.output
    verified = migration.record["phases"]["verify"]["result"]
    assert verified["tables"] == verified["rows"] + 1 == TABLES + 1


def time_to_look(cluster: Cluster, database: str) -> float:
    """Seconds for what is done with every table: list, read and digest."""
    started = time.monotonic()
    with session(cluster, database) as one:
        tables = list_tables(one).kept
        read_objects(one)
        digest.digest_tables(tables, "hash64", 2, lambda: session(cluster, database))
    return time.monotonic() - started
