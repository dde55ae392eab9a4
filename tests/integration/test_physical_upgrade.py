# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method physical: what pg_upgrade refuses is known before the base backup, with a remedy that works."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import upgrade_obstacles
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import binaries, places
from support.background import wait_until
from support.clusters import Cluster
from support.migration import execute
from support.preflight import finding, look, look_at_target

Fresh = Callable[[Cluster], str]

# Each check of pg_upgrade by its words after "Checking", and the kind of obstacle here. None: it can't fail for a copy of this method.
CHECKS: dict[str, str | None] = {
    "for system-defined composite types in user tables": "type",
    "for reg* data types in user tables": "type",
    'for incompatible "aclitem" data type': "type",
    'for incompatible "%s" data type in user tables': "type",
    'for invalid "sql_identifier" user columns': "type",
    'for removed "abstime" data type in user tables': "type",
    'for removed "reltime" data type in user tables': "type",
    'for removed "tinterval" data type in user tables': "type",
    'for removed "%s" data type in user tables': "type",
    "for tables WITH OIDS": "oids",
    "for user-defined postfix operators": "postfix operator",
    "for user-defined encoding conversions": "conversion",
    "for incompatible polymorphic functions": "polymorphic",
    "for not-null constraint inconsistencies": "not null",
    "for presence of required libraries": "library",
    "database connection settings": "database",
    "for subscription state": "subscription",
    # Of PostgreSQL 9.6 and older.
    'for invalid "unknown" user columns': None,
    'for incompatible "line" data type': None,
    'for incompatible "jsonb" data type': None,
    'for incompatible "jsonb" data type in user tables': None,
    'for roles starting with "pg_"': None,
    "for hash indexes": None,
    # Other findings of preflight.
    "for prepared transactions": None,
    "for contrib/isn with bigint-passing mismatch": None,
    # A base backup has no slots.
    "for valid logical replication slots": None,
    "for new cluster logical replication slots": None,
    # The new cluster is made for the copy, by its own superuser and without tablespaces.
    "cluster versions": None,
    "database user is the install user": None,
    "for new cluster tablespace directories": None,
    "for new cluster configuration for subscriptions": None,
    # They only tell something.
    "data type usage": None,
    "for extension updates": None,
    "for objects affected by Unicode update": None,
}


@pytest.mark.parametrize("major", [16, 18])
def test_every_check_of_pg_upgrade_is_known(major: int) -> None:
    """A check that a newer version brings is to be looked for on the source, too."""
    program = binaries.binaries(major).bin_dir / "pg_upgrade"
    found = {text.decode() for text in re.findall(rb"\x00Checking ([ -~]+)\x00", program.read_bytes())}
    assert "for reg* data types in user tables" in found
    assert found <= CHECKS.keys()
    source = Path(upgrade_obstacles.__file__).read_text(encoding="utf-8")
    assert [kind for kind in set(CHECKS.values()) if kind and f'"{kind}"' not in source] == []


def settings_of(cluster: Cluster, database: str = "postgres") -> ConnectionSettings:
    return ConnectionSettings(database, cluster.host, cluster.port, password=cluster.password)


def obstacles(source: Cluster, target: Cluster, major: int | None = None) -> list[dict[str, Any]]:
    """What a copy of the source would be refused for on the target; major: another version than the source has."""
    with Session(settings_of(source)) as session:
        found = upgrade_obstacles.find(session)
    target_major = major or target.binaries.major
    with Session(settings_of(target)) as session:
        try:
            upgrade_obstacles.check(session, found, source.binaries.major, target_major)
        except MigrationError as error:
            refused: list[dict[str, Any]] = error.details["obstacles"]
            shown = [obstacle["remedy"] in error.message for obstacle in refused[: upgrade_obstacles.SHOWN]]
            return refused if all(shown) else []
    return []


def remedy(source: Cluster, obstacle: dict[str, Any]) -> None:
    """Do what it says, up to its explanation."""
    execute(source, obstacle["remedy"].split(" (create", 1)[0].split(" (or", 1)[0], obstacle["database"])


IN_TEN = """
CREATE TABLE with_oids (n int) WITH OIDS;
CREATE TABLE times (a abstime, r reltime, t tinterval, names information_schema.sql_identifier, rights aclitem[]);
CREATE TABLE parent (n int NOT NULL); CREATE TABLE "Child" () INHERITS (parent); ALTER TABLE "Child" ALTER n DROP NOT NULL;
CREATE FUNCTION fact(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE OPERATOR !@ (LEFTARG = numeric, PROCEDURE = fact);
CREATE DEFAULT CONVERSION own FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE AGGREGATE collect (anyelement) (SFUNC = array_append, STYPE = anyarray, INITCOND = '{}');
"""
KINDS_IN_TEN = {
    "the table public.with_oids is WITH OIDS": 12,
    "the column public.times.a has the type abstime": 12,
    "the column public.times.r has the type reltime": 12,
    "the column public.times.t has the type tinterval": 12,
    "the column public.times.names has the type information_schema.sql_identifier": 12,
    "the column public.times.rights has the type aclitem[]": 16,
    'the column public."Child".n lacks the NOT NULL of the parent table': 11,
    "the postfix operator public.!@ (numeric, NONE)": 14,
    "the encoding conversion public.own": 14,
    "the aggregate public.collect(anyelement) uses a function whose arguments changed in PostgreSQL 14": 14,
}


def test_what_an_old_source_has_is_named_with_a_remedy_that_works(
    old_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh
) -> None:
    name = fresh_database(old_cluster)
    assert obstacles(old_cluster, target_cluster) == []
    execute(old_cluster, IN_TEN, name)
    found = obstacles(old_cluster, target_cluster)
    assert {obstacle["what"] for obstacle in found} == KINDS_IN_TEN.keys()
    assert {obstacle["database"] for obstacle in found} == {name}
    for major in (11, 12, 14, 16):
        expected = {what for what, since in KINDS_IN_TEN.items() if since <= major}
        assert {obstacle["what"] for obstacle in obstacles(old_cluster, target_cluster, major)} == expected
    assert obstacles(old_cluster, target_cluster, old_cluster.binaries.major) == []
    for obstacle in found:
        remedy(old_cluster, obstacle)
    assert obstacles(old_cluster, target_cluster) == []


# Of every version: within a domain, an array, a composite type and a range; stored by a table, a materialized view and an index.
IN_SIXTEEN = (
    "CREATE DOMAIN code AS regproc; CREATE TYPE pair AS (c code[]); CREATE TABLE domains (p pair)",
    "CREATE MATERIALIZED VIEW seen AS SELECT 'now'::regproc AS f",
    "CREATE TABLE plain (t text); CREATE INDEX by_proc ON plain ((CASE WHEN t = '' THEN 1::oid::regproc END))",
    "CREATE TABLE rows_of (r information_schema.tables)",
    "CREATE TABLE parent (n int NOT NULL); CREATE TABLE child () INHERITS (parent); ALTER TABLE child ALTER n DROP NOT NULL",
    """CREATE FUNCTION gone(oid) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator';
    UPDATE pg_proc SET probin = '$libdir/gone' WHERE proname = 'gone'""",
)


def test_preflight_names_them(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, tmp_path: Path, client_dir: Path
) -> None:
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    place = {"migration_id": "m", "state_dir": str(tmp_path / "state"), "staging_dir": str(tmp_path / "staging")}
    place.update(bin_dir=str(client_dir), method="physical", commands={"stop": ["true"], "start": ["true"]})
    execute(source_cluster, "CREATE TABLE funny (f regprocedure); CREATE VIEW harmless AS SELECT f FROM funny", name)
    execute(source_cluster, IN_SIXTEEN[-1], name)

    def upgrade() -> dict[str, Any]:
        facts = look(place, source_cluster, name)["facts"]
        return finding(look_at_target(place, target_cluster, name, facts), "pg_upgrade")

    refused = upgrade()
    assert (refused["status"], refused["details"]["code"]) == ("failure", "upgrade_refused")
    statement = re.findall(r"ALTER TABLE .*? USING f::text", refused["message"])[0]
    assert "functions use the library $libdir/gone, which the target lacks" in refused["message"]
    execute(source_cluster, f"DROP VIEW harmless; {statement}; DROP FUNCTION gone(oid)", name)
    assert upgrade()["status"] == "ok"


def test_a_database_that_refuses_the_login_is_told_of(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh
) -> None:
    """From the target, pg_hba.conf may let only one database be reached."""
    name = fresh_database(source_cluster)
    hba = source_cluster.data_directory / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    hba.write_text(f"host {name} all 127.0.0.1/32 reject\n{before}", encoding="utf-8")
    try:
        execute(source_cluster, "SELECT pg_reload_conf()")
        with Session(settings_of(source_cluster)) as session:
            wait_until("it is refused", lambda: upgrade_obstacles.find(session)["unread"] == [name])
            found = upgrade_obstacles.find(session)
        with Session(settings_of(target_cluster)) as session:
            said = upgrade_obstacles.check(session, found, 16, 18)
        assert said.endswith(f"not looked into, because it refuses the login: {name}")
    finally:
        hba.write_text(before, encoding="utf-8")
        execute(source_cluster, "SELECT pg_reload_conf()")


@pytest.fixture
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """A server of 16 to upgrade, and a new data directory of 18."""
    folder = Path(tempfile.mkdtemp(prefix="up-", dir=places.work_folder("clusters")))
    folder.chmod(0o755)
    with Cluster.create(folder / "16", binaries.binaries(16)) as old, Cluster.create(
        folder / "18", binaries.binaries(18), settings={}
    ) as new:
        yield old, new
    shutil.rmtree(folder)


@pytest.mark.long
def test_pg_upgrade_refuses_the_same(pair: tuple[Cluster, Cluster], target_cluster: Cluster) -> None:
    old, new = pair
    for cluster in pair:
        cluster.stop()
    as_server(new, "pg_checksums", "--disable", f"--pgdata={new.data_directory}")
    accepted = pg_upgrade_check(old, new)
    assert accepted.returncode == 0, accepted.stdout
    old.start()
    databases = ("CREATE DATABASE closed ALLOW_CONNECTIONS false",)
    for statement in (*IN_SIXTEEN, *databases):
        execute(old, "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public")
        execute(old, statement)
        found = obstacles(old, target_cluster)
        assert len(found) == 1, (statement, found)
        old.stop()
        refused = pg_upgrade_check(old, new)
        assert refused.returncode, (statement, refused.stdout)
        old.start()
        if found[0]["kind"] == "library":
            execute(old, "DROP FUNCTION gone(oid)")
        else:
            remedy(old, found[0])
        assert obstacles(old, target_cluster) == [], statement
    old.stop()
    fine = pg_upgrade_check(old, new)
    assert fine.returncode == 0, fine.stdout


def as_server(cluster: Cluster, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the cluster as its user, in a folder of its own."""
    account = places.server_account()
    user = (
        [] if account.uid is None else ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    )
    work = Path(tempfile.mkdtemp(prefix="work-", dir=cluster.directory))
    account.give(work)
    command = [*user, "env", f"--chdir={work}", f"HOME={work}", cluster.binaries.program(program), *arguments]
    return subprocess.run(command, env=cluster.binaries.environment(), capture_output=True, text=True, check=False)


def pg_upgrade_check(old: Cluster, new: Cluster) -> subprocess.CompletedProcess[str]:
    """Run ``pg_upgrade --check``; both servers are stopped."""
    words = ["--check", "--username=postgres", f"--socketdir={new.socket_directory}"]
    for side, cluster in (("old", old), ("new", new)):
        hba = cluster.data_directory / "pg_hba.conf"
        hba.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n", encoding="utf-8")
        words += [f"--{side}-bindir={cluster.binaries.bin_dir}", f"--{side}-datadir={cluster.data_directory}"]
    return as_server(new, "pg_upgrade", *words)
