# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An index whose function needs a search_path: each remedy that preflight prints is enough for dump, digest and restore."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence import digest, planning_path
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import search_path_checks
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.matview_graph import read_graph
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support.clusters import Cluster
from support.migration import execute
from support.preflight import failures, finding, look, look_at_target, schema_of

CASE = Path(__file__).parents[1] / "support" / "sql" / "cases" / "function-in-index.sql"
Fresh = Callable[[Cluster], str]


@pytest.fixture
def database(source_cluster: Cluster, fresh_database: Fresh) -> str:
    name = fresh_database(source_cluster)
    execute(source_cluster, CASE.read_text(encoding="utf-8"), name)
    return name


def taken(cluster: Cluster, database: str, like: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Digests as dump and restore take them."""
    settings = ConnectionSettings(database, cluster.host, cluster.port, password=cluster.password)
    with Session(settings) as session:
        tables = list_tables(session).kept
    found = digest.digest_tables(tables, "hash64", 1, lambda: Session(settings), like=like)
    return [table.as_dict() for table in sorted(found, key=lambda table: table.table)]


def tried(place: dict[str, Any], source: Cluster, target: Cluster, name: str, **options: Any) -> dict[str, Any]:
    """Preflight of both sides; the source's must have no failure."""
    here = look(place, source, name, **options)
    assert failures(here) == []
    schema = schema_of(place, source, name, **options)
    return look_at_target(place, target, name, here["facts"], schema=schema, **options)


def test_without_a_remedy_it_is_refused_with_both(
    source_cluster: Cluster, database: str, place: dict[str, Any]
) -> None:
    found = look(place, source_cluster, database)
    (name,) = failures(found)
    message = finding(found, name)["message"]
    assert "ALTER FUNCTION public.area(integer) SET search_path = public, pg_temp" in message
    assert "couch2pg_function_search_path: {'public.area(integer)': 'public, pg_temp'}" in message


def test_a_path_on_the_source_is_enough(
    source_cluster: Cluster, target_cluster: Cluster, database: str, place: dict[str, Any]
) -> None:
    execute(source_cluster, "ALTER FUNCTION public.area(integer) SET search_path = public, pg_temp", database)
    assert failures(tried(place, source_cluster, target_cluster, database)) == []
    assert [row["rows"] for row in taken(source_cluster, database)] == [0, 2]


def test_a_path_on_the_target_only_is_enough(
    source_cluster: Cluster, target_cluster: Cluster, database: str, place: dict[str, Any]
) -> None:
    paths = {"public.area(integer)": "public, pg_temp"}
    found = tried(place, source_cluster, target_cluster, database, function_search_path=paths)
    assert failures(found) == []
    # The source's function has none, so the source's own search_path is used to read the table, and is told to the target.
    couchdb, t = taken(source_cluster, database)
    assert (t["rows"], t["search_path"]) == (2, "public")
    assert "search_path" not in couchdb
    execute(source_cluster, "ALTER FUNCTION public.area(integer) SET search_path = public, pg_temp", database)
    assert taken(source_cluster, database, [couchdb, t]) == [couchdb, t]


DOMAIN = """
CREATE DOMAIN code AS text CHECK (outer_f(VALUE) > 0); CREATE TABLE coded (c code); INSERT INTO coded VALUES ('a');
"""
PARTITIONS = """
CREATE TABLE parted (c text) PARTITION BY RANGE (outer_f(c)); CREATE TABLE parted_1 PARTITION OF parted DEFAULT;
INSERT INTO parted VALUES ('a');
"""


@pytest.mark.parametrize(
    ("made", "name"), [(DOMAIN, "domain public.code: code_check"), (PARTITIONS, "partition key public.parted")]
)
def test_what_rows_are_checked_with(
    source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any], made: str, name: str
) -> None:
    """Only rows show it: pg_restore would fail after the transfer."""
    database = fresh_database(source_cluster)
    functions = """
    CREATE TABLE couchdb (doc jsonb); CREATE FUNCTION inner_f(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT length($1)';
    CREATE FUNCTION outer_f(text) RETURNS int LANGUAGE plpgsql IMMUTABLE STRICT AS 'BEGIN RETURN inner_f($1); END';
    """
    execute(source_cluster, functions + made, database)
    found = look(place, source_cluster, database)
    assert failures(found) == [name]
    message = finding(found, name)["message"]
    assert "couch2pg_function_search_path: {'public.outer_f(text)': 'public, pg_temp'}" in message
    execute(source_cluster, message.split("on the source (")[1].split("), or let")[0], database)
    assert failures(look(place, source_cluster, database)) == []


def test_only_a_table_with_such_an_index_gets_a_path(source_cluster: Cluster, database: str) -> None:
    settings = ConnectionSettings(database, source_cluster.host, source_cluster.port, password=source_cluster.password)
    with Session(settings) as session:
        tables = list_tables(session).kept
    assert planning_path.find(tables, lambda: Session(settings)) == {"public.t": "public"}


BARE = """CREATE FUNCTION helper(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION helped(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT {}helper($1)';"""
USES = """
CREATE TABLE couchdb (doc jsonb); CREATE TABLE t (n int); INSERT INTO t VALUES (1);
CREATE INDEX i ON t (helped(n)); CREATE MATERIALIZED VIEW m AS SELECT n, lower('A') AS a FROM t;
"""


def test_a_function_of_an_extension_that_another_version_corrects(
    target_cluster: Cluster, extension_folder: Path, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """As ll_to_earth of earthdistance: the target's version counts, for an index and for a view that reads its table."""
    (extension_folder / "helping.control").write_text("default_version = '2'\nrelocatable = false\n", encoding="utf-8")
    for version in "12":
        (extension_folder / f"helping--{version}.sql").write_text(BARE.format("@extschema@."), encoding="utf-8")
    name = fresh_database(target_cluster)
    execute(target_cluster, "CREATE EXTENSION helping VERSION '1';" + USES, name)
    # PostgreSQL 17 and later would not have built that index with the old version.
    execute(target_cluster, BARE.format("").splitlines()[1].replace("CREATE", "CREATE OR REPLACE"), name)

    def seen(**options: Any) -> dict[str, Any]:
        here = look(place, target_cluster, name, **options)
        assert failures(here) == []
        # As if it were another server.
        facts = {**here["facts"], "running_server": ""}
        schema = schema_of(place, target_cluster, name, **options)
        return look_at_target(place, target_cluster, f"{name}_there", facts, schema=schema, **options)

    found = seen()
    assert failures(found) == []
    assert (
        "On the target, helping becomes 2, which may have corrected this."
        in finding(found, "index public.i")["message"]
    )
    (extension_folder / "helping--1.sql").write_text(BARE.format(""), encoding="utf-8")
    versions = {"extension_versions": {"helping": "1"}}
    refused = seen(**versions)
    assert failures(refused) == ["index public.i", "materialized views", "schema on the target"]
    remedy = "couch2pg_function_search_path: {'public.helped(integer)': 'public, pg_temp'}"
    for problem in failures(refused)[:2]:
        assert remedy in finding(refused, problem)["message"]
    assert failures(seen(**versions, function_search_path={"public.helped(integer)": "public, pg_temp"})) == []


def test_a_foreign_table_without_a_mapping_needs_no_path(thirteen_cluster: Cluster, fresh_database: Fresh) -> None:
    """The server reports a missing user mapping with the code of a missing name."""
    name = fresh_database(thirteen_cluster)
    execute(
        thirteen_cluster,
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '192.0.2.1');"
        "CREATE FOREIGN TABLE units (id int) SERVER far;"
        "CREATE MATERIALIZED VIEW never AS SELECT id FROM units WITH NO DATA",
        name,
    )
    settings = ConnectionSettings(
        name, thirteen_cluster.host, thirteen_cluster.port, password=thirteen_cluster.password
    )
    with Session(settings) as session:
        assert search_path_checks.of_matviews(session, read_graph(session), {}) == []
