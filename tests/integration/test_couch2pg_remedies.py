# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real couch2pg logs an error, the remedy that is printed is followed as it stands, and couch2pg becomes healthy."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.parse import quote

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from support import binaries, handed_over, node, places, seed
from support.background import wait_until
from support.cases import rarely
from support.clusters import Cluster
from support.couch2pg import COMPLETED, Couch2pg
from support.couchdb import USER, CouchDB
from support.couchdb_proxy import Proxy
from support.handed_over import PASSWORD, Target
from support.migration import execute
from support.modules import run_module
from support.places import SupportError
from support.small_disk import fill, folder_of_server, resize
from support.systemd import SystemdHost

STATEMENT = r"\b(?:ALTER|CREATE ROLE|DROP|GRANT|REFRESH|SET) [^;]+;"
Follow = Callable[[Target, str], None]


@pytest.fixture(scope="module")
def couchdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CouchDB]:
    with handed_over.filled_couchdb(tmp_path_factory.mktemp("couchdb")) as server:
        yield server


@pytest.fixture(scope="module")
def synced(target_cluster: Cluster, couchdb: CouchDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with handed_over.filled_database(target_cluster, couchdb, tmp_path_factory.mktemp("first")) as name:
        yield name


@pytest.fixture
def target(
    target_cluster: Cluster, couchdb: CouchDB, synced: str, database_name: str, tmp_path: Path
) -> Iterator[Target]:
    with handed_over.copied(target_cluster, couchdb, synced, database_name, tmp_path) as made:
        yield made


def run_statements(target: Target, remedy: str) -> None:
    """Every statement of a remedy, as a superuser and in the database that it names."""
    statements = re.findall(STATEMENT, remedy)
    assert statements, remedy
    place = target.database if f"n the database {target.database}" in remedy else "postgres"
    execute(target.cluster, " ".join(statements).replace("'PASSWORD'", f"'{PASSWORD}'"), place)


def run_commands(target: Target, remedy: str) -> None:
    """The command for the source, where this is a copy of couch2pg's database, then the one for the target; then the statements."""
    found = re.search(
        r"(?:on the source|there), ((?:pg_dump|psql) .*?); (?:on the target|here), (psql .*?)(?:\. | \()", remedy
    )
    assert found, remedy
    there, here = found.groups()
    target.shell(re.sub(rf"\b{target.database}\b", target.synced, there))
    target.shell(here)
    statements = [] if "TRUNCATE" in here else re.findall(r"\b(?:REFRESH) [^;]+;", remedy)
    target.execute(" ".join(statements) or "SELECT 1")


def errors_of(target: Target, installed: node.Node | None = None) -> list[dict[str, Any]]:
    """What is said of the errors of a couch2pg that doesn't become healthy."""
    since = target.position()
    with target.make(installed):
        result = target.health(since=since)
    assert result.get("failed"), result
    errors: list[dict[str, Any]] = result["details"]["errors"]
    assert errors, result
    # Of the last error that says something.
    assert errors[0 if errors[-1]["kind"] == "gave_up" else -1]["meaning"] in result["msg"], result["msg"]
    return errors


def becomes_healthy(target: Target, installed: node.Node | None = None) -> None:
    """The same couch2pg as before."""
    since = target.position()
    with target.make(installed):
        done = target.health(since=since)
    assert not done.get("failed"), done
    assert done["errors"] == []


@dataclass(frozen=True)
class Case:
    """What is done to the target's database, the errors that follow one after the other, and how each remedy is followed."""

    harm: str
    kinds: tuple[str, ...]
    follow: Follow = run_statements
    # A change of a document, without which couch2pg doesn't refresh.
    change: bool = False


ONLY_POSTGRES = "ALTER DATABASE {database} OWNER TO postgres; GRANT ALL ON SCHEMA public TO couch2pg; "
TWICE = """
SET ROLE couch2pg;
CREATE MATERIALIZED VIEW "Odd ""one" AS SELECT doc ->> 'twice' AS n, 1 AS m FROM couchdb WHERE doc ? 'twice';
CREATE UNIQUE INDEX ON "Odd ""one" (n, m);
"""
WITHOUT_SCHEMA = """
SET ROLE couch2pg;
CREATE FUNCTION counted(kind text) RETURNS bigint LANGUAGE plpgsql STABLE SET search_path = public AS
$$ BEGIN RETURN (SELECT count(*) FROM couchdb WHERE doc ->> 'type' = kind); END $$;
CREATE MATERIALIZED VIEW numbers AS SELECT counted('data_record') AS n; CREATE UNIQUE INDEX ON numbers (n);
ALTER FUNCTION counted RESET search_path;
"""
SLOW = """
SET ROLE couch2pg;
CREATE MATERIALIZED VIEW slow AS SELECT 1 AS n FROM pg_sleep(0.5); CREATE UNIQUE INDEX ON slow (n);
ALTER DATABASE {database} SET statement_timeout = '400ms';
"""


def find_the_twins(target: Target, remedy: str) -> None:
    commands = re.search(r"more than once: (.*)\. Correct", remedy)
    assert commands, remedy
    assert "same" in target.shell(commands[1])
    (document,) = [
        row for row in target.couchdb.ask("GET", "/medic/_all_docs?include_docs=true")["rows"] if row["id"] == "twin-2"
    ]
    target.couchdb.put("medic", [{**document["doc"], "twice": "other"}])


# What divides by it is known to nobody here.
UNKNOWN = """
SET ROLE couch2pg;
CREATE TABLE divisor AS SELECT 1 AS n; CREATE MATERIALIZED VIEW divided AS SELECT 1 / n AS n FROM divisor;
CREATE UNIQUE INDEX ON divided (n); UPDATE divisor SET n = 0;
"""


def find_the_cause(target: Target, remedy: str) -> None:
    command = remedy.partition("reports: ")[2]
    with pytest.raises(AssertionError, match="division by zero"):
        target.shell(command)
    target.execute("UPDATE divisor SET n = 2")
    target.shell(command)


CASES = {
    "unpopulated": Case(
        "REFRESH MATERIALIZED VIEW contactview_metadata WITH NO DATA", ("matview_unpopulated",), change=True
    ),
    "no index": Case("DROP INDEX form_metadata_uuid", ("matview_no_unique_index",), run_commands, change=True),
    "duplicates": Case(TWICE, ("matview_duplicates",), find_the_twins),
    "other owner": Case(
        "ALTER MATERIALIZED VIEW form_metadata OWNER TO postgres", ("matview_other_owner",), change=True
    ),
    "no right to create": Case(
        "ALTER DATABASE {database} OWNER TO postgres; DROP TABLE users_meta_migrations",
        ("no_create_on_public", "migration_table_lost"),
        lambda target, remedy: (run_commands if "pg_dump" in remedy else run_statements)(target, remedy),
    ),
    "checksum": Case("UPDATE xmlforms_migrations SET md5 = 'other'", ("migration_checksum",), run_commands),
    "no function": Case("DROP FUNCTION refresh_matviews()", ("refresh_missing",), run_commands, change=True),
    "no view": Case(
        "DROP MATERIALIZED VIEW contactview_metadata CASCADE", ("matview_missing",), run_commands, change=True
    ),
    "without a schema": Case(
        WITHOUT_SCHEMA,
        ("matview_missing",),
        lambda target, remedy: run_statements(target, remedy.partition("is missing")[0]),
        change=True,
    ),
    "no table": Case("DROP TABLE couchdb_progress", ("table_missing",), run_commands),
    "password": Case("ALTER ROLE couch2pg PASSWORD 'other'", ("bad_password",)),
    "no login": Case("ALTER ROLE couch2pg NOLOGIN", ("no_login",)),
    "owner": Case("ALTER TABLE couchdb OWNER TO postgres", ("permission_denied",), change=True),
    "no right to connect": Case(
        "ALTER DATABASE {database} OWNER TO postgres; REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        ("permission_denied",),
    ),
    "read only": Case("ALTER DATABASE {database} SET default_transaction_read_only = on", ("read_only",)),
    "timeout": Case(SLOW, ("statement_timeout",), change=True),
    "transaction": Case(SLOW.replace("statement_timeout", "transaction_timeout"), ("statement_timeout",), change=True),
    "unknown": Case(UNKNOWN, ("xmlforms_failed",), find_the_cause, change=True),
    "connections of the role": Case("ALTER ROLE couch2pg CONNECTION LIMIT 0", ("too_many_connections",)),
    "connections of the database": Case("ALTER DATABASE {database} CONNECTION LIMIT 0", ("too_many_connections",)),
    "closed": Case("ALTER DATABASE {database} ALLOW_CONNECTIONS false", ("database_closed",)),
    "own index": Case("CREATE UNIQUE INDEX \"One n\" ON couchdb ((doc ->> 'once'))", ("duplicate_key",)),
}


# The others are as fast, but many.
OFTEN = ("no index", "duplicates", "other owner", "no right to create")


@pytest.mark.parametrize("name", [name if name in OFTEN else rarely(name) for name in CASES])
def test_in_postgresql(name: str, target: Target) -> None:
    case = CASES[name]
    try:
        if name == "duplicates":
            target.couchdb.put("medic", [{"_id": f"twin-{n}", "type": "x", "twice": "same"} for n in (1, 2)])
        if name == "own index":
            target.couchdb.put("medic", [{"_id": f"once-{n}", "type": "x", "once": "same"} for n in (1, 2)])
        place = "postgres" if "ALLOW_CONNECTIONS" in case.harm else target.database
        execute(target.cluster, case.harm.format(database=target.database), place)
        if case.change:
            target.change()
        for kind in case.kinds:
            seen = errors_of(target)[-1]
            assert seen["kind"] == kind, seen
            case.follow(target, seen["remedy"])
        becomes_healthy(target)
    finally:
        execute(target.cluster, f"ALTER ROLE couch2pg LOGIN CONNECTION LIMIT -1 PASSWORD '{PASSWORD}'")


@contextmanager
def admitted(cluster: Cluster, lines: str) -> Iterator[Path]:
    """The server's pg_hba.conf has these lines only; what is added to it is gone afterwards."""
    file = cluster.data_directory / "pg_hba.conf"
    before = file.read_text(encoding="utf-8")
    try:
        file.write_text(lines, encoding="utf-8")
        execute(cluster, "SELECT pg_reload_conf()")
        yield file
    finally:
        file.write_text(before, encoding="utf-8")
        execute(cluster, f"SELECT pg_reload_conf(); ALTER ROLE {seed.OWNER} PASSWORD '{PASSWORD}'")


def put_first(target: Target, remedy: str) -> None:
    """The line of pg_hba.conf."""
    (line,) = re.findall(r"(?:\): |again: )(host .*)", remedy)
    file = target.cluster.data_directory / "pg_hba.conf"
    file.write_text(f"{line}\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    execute(target.cluster, "SELECT pg_reload_conf()")


ALL, POSTGRES = (
    "local all all scram-sha-256\nhost all {} 127.0.0.1/32 {}\n".format(*words)
    for words in (("all", "scram-sha-256"), ("postgres", "scram-sha-256"))
)


def test_a_login(target: Target) -> None:
    """A driver that doesn't know SCRAM, a line of pg_hba.conf that is missing, and a server that is away."""
    with admitted(target.cluster, ALL):
        (seen,) = errors_of(target, node.stock())
        assert seen["kind"] == "scram"
        run_statements(target, seen["remedy"])
        put_first(target, seen["remedy"])
        becomes_healthy(target, node.stock())
    with admitted(target.cluster, POSTGRES):
        (seen,) = errors_of(target)
        assert (seen["kind"], seen["subjects"]) == ("no_access", [seed.OWNER])
        assert " 127.0.0.1/32 md5" in seen["remedy"]
        put_first(target, seen["remedy"])
        becomes_healthy(target)
    url = target.variables["POSTGRESQL_URL"]
    target.variables["POSTGRESQL_URL"] = url.replace(f"/{target.database}", "/Not%20there")
    (seen,) = errors_of(target)
    assert seen["kind"] == "no_database"
    assert target.database in target.shell("psql --list")
    target.variables["POSTGRESQL_URL"] = url


@pytest.mark.long
def test_a_role_that_is_missing(target: Target) -> None:
    """Only a server that asks for no password says so."""
    role = f"Missing {target.database}"
    url = target.variables["POSTGRESQL_URL"]
    with admitted(target.cluster, ALL.replace("all 127.0.0.1/32 scram-sha-256", "all 127.0.0.1/32 trust")):
        target.variables["POSTGRESQL_URL"] = url.replace(f"{seed.OWNER}:", f"{quote(role)}:", 1)
        (seen,) = errors_of(target)
        assert (seen["kind"], seen["subjects"]) == ("no_role", [role])
        run_statements(target, seen["remedy"])
    target.variables["POSTGRESQL_URL"] = url
    try:
        assert target.shell(f"PGUSER='{role}' PGPASSWORD='{PASSWORD}' psql --command='SELECT 1' postgres")
    finally:
        execute(target.cluster, f'DROP ROLE "{role}"')


@pytest.mark.long
def test_a_server_that_is_away(target: Target) -> None:
    target.cluster.stop()
    try:
        since = target.position()
        with target.make() as couch2pg:
            assert couch2pg.wait_for_end(20) == 1
            (seen,) = target.health(since=since, process=None, timeout=1)["details"]["errors"]
        assert seen["kind"] == "postgres_away"
        (command,) = re.findall(r"pg_isready \S+ \S+", seen["remedy"])
        with pytest.raises(AssertionError):
            target.shell(command)
    finally:
        target.cluster.start()
    target.shell(command)
    becomes_healthy(target)


def encoded(target: Target, remedy: str, password: str) -> str:
    """What the command prints that a remedy has for it."""
    (command,) = re.findall(r"python3 -c '[^']+'", remedy)
    printed = target.shell(command, entered=f"{password}\n").splitlines()[-1]
    return printed.rpartition(" ")[2]


def test_the_login_to_couchdb(target: Target) -> None:
    good = target.variables["COUCHDB_URL"]
    target.variables["COUCHDB_URL"] = good.replace(f"{USER}:", f"{USER}:wrong", 1)
    (seen,) = errors_of(target)
    assert seen["kind"] == "couchdb_unauthorized"
    (command,) = re.findall(r"curl .*?/_session", seen["remedy"])
    assert '"ok":true' not in target.shell(command, entered="wrong\n")
    assert '"ok":true' in target.shell(command, entered=f"{target.couchdb.password}\n")
    password = encoded(target, seen["remedy"], target.couchdb.password)
    target.variables["COUCHDB_URL"] = good.replace(f":{good.split(':')[2].split('@')[0]}@", f":{password}@")
    becomes_healthy(target)


@pytest.mark.long
def test_a_database_of_couchdb_that_may_not_be_read(target: Target, tmp_path: Path) -> None:
    """A user who is no member; and one who would have to create a database that is missing."""
    couchdb = target.couchdb
    member = {"_id": "org.couchdb.user:reader", "name": "reader", "type": "user", "roles": [], "password": "secret"}
    couchdb.ask("PUT", "/_users/org.couchdb.user:reader", member, accept=(201, 409))
    couchdb.ask("PUT", "/medic/_security", {"admins": {"names": [USER]}, "members": {"names": ["other"]}})
    try:
        with Proxy(couchdb, tmp_path, tls=False) as proxy:
            move = "UPDATE couchdb_progress SET source = replace(source, '{}/', '{}/')"
            target.execute(move.format(couchdb.port, proxy.port))
            target.variables["COUCHDB_URL"] = f"http://reader:secret@127.0.0.1:{proxy.port}/medic"
            target.variables["SYNC_DB_USERS"] = "false"
            seen = errors_of(target)[-1]
            assert seen["kind"] == "couchdb_forbidden"
            commands = re.search(r"members: (curl .*? >security.json), then (curl .*?/_security)\.", seen["remedy"])
            assert commands, seen["remedy"]
            for command in commands.groups():
                target.shell(command.replace("ADMIN", USER), entered=f"{couchdb.password}\n")
            assert couchdb.ask("GET", "/medic/_security")["members"]["names"] == ["other", "reader"]
            becomes_healthy(target)
            target.variables["COUCHDB_URL"] += "al"
            since = target.position()
            with target.make() as couch2pg:
                # Otherwise the watch itself finds that it is missing.
                assert couch2pg.wait_for_end(20) == 1
                (seen,) = target.health(since=since, process=None)["details"]["errors"]
            assert seen["kind"] == "couchdb_no_database"
            (command,) = re.findall(r"curl .*?/_all_dbs", seen["remedy"])
            known = target.shell(command, entered="secret\n")
            assert '"medic"' in known
            assert '"medical"' not in known
            target.variables["COUCHDB_URL"] = target.variables["COUCHDB_URL"].removesuffix("al")
            becomes_healthy(target)
    finally:
        couchdb.ask("PUT", "/medic/_security", {})


@pytest.mark.long
def test_an_error_of_a_proxy(target: Target, tmp_path: Path) -> None:
    """couch2pg tries again, and gives up at last."""
    with Proxy(target.couchdb, tmp_path, tls=False) as proxy:
        target.execute(
            f"UPDATE couchdb_progress SET source = replace(source, '{target.couchdb.port}/', '{proxy.port}/')"
        )
        proxy.fails_with = 503
        target.variables.update(COUCHDB_URL=proxy.url(), COUCH2PG_RETRY_COUNT="1")
        first, last = errors_of(target)
        assert (first["kind"], last["kind"]) == ("couchdb_error", "gave_up")
        (command,) = re.findall(r"curl --include .*?/medic", first["remedy"])
        assert " 503 " in target.shell(command, entered=f"{target.couchdb.password}\n")
        proxy.fails_with = None
        assert " 200 " in target.shell(command, entered=f"{target.couchdb.password}\n")
        becomes_healthy(target)


@pytest.mark.long
def test_another_node(target: Target, tmp_path: Path) -> None:
    """Packages that don't fit Node.js, and packages that are missing."""
    new, stock = node.new(), node.stock()
    seen = errors_of(target, node.Node(stock.program, new.packages))[-1]
    assert seen["kind"] == "wrong_node_version"
    becomes_healthy(target, new)
    target.variables["NODE_OPTIONS"] = "--max-old-space-size=8"
    seen = errors_of(target, new)[-1]
    assert seen["kind"] == "out_of_memory"
    (target.variables["NODE_OPTIONS"],) = re.findall(r"NODE_OPTIONS=(\S+)", seen["remedy"])
    becomes_healthy(target, new)
    (tmp_path / "empty").mkdir()
    seen = errors_of(target, replace(new, packages=tmp_path / "empty"))[-1]
    assert seen["kind"] == "not_installed"
    becomes_healthy(target, new)


UNIT = """[Unit]
StartLimitBurst=2
StartLimitIntervalSec=600
[Service]
ExecStart={program} {daemon}
Environment=NODE_PATH={packages}
EnvironmentFile={file}
Restart=always
RestartSec=100ms
StandardOutput=append:{log}
StandardError=append:{log}
"""


@pytest.mark.long
def test_a_unit_that_systemd_gave_up(target: Target, tmp_path: Path) -> None:
    installed, file = node.new(), tmp_path / "couch2pg.env"
    couch2pg = Couch2pg(tmp_path, {}, installed)

    def settings(**variables: str) -> None:
        known = {**target.variables, **variables}
        file.write_text("".join(f'{name}="{value}"\n' for name, value in known.items()), encoding="utf-8")

    settings(POSTGRESQL_URL=target.variables["POSTGRESQL_URL"].replace(f"{seed.OWNER}:", f"{seed.OWNER}:wrong"))
    with SystemdHost(tmp_path / "host") as host:
        host.unit(
            "couch2pg.service",
            UNIT.format(
                program=installed.program, daemon=node.DAEMON, packages=installed.packages, file=file, log=couch2pg.log
            ),
        )
        host.run("systemctl", "start", "couch2pg")
        wait_until("systemd gives up", lambda: "failed" in host.run("sh", "-c", "systemctl is-failed couch2pg || true"))
        with pytest.raises(SupportError):
            host.run("systemctl", "start", "couch2pg")
        with couch2pg.log.open("a", encoding="utf-8") as log:
            # What this systemd says about it is in no journal.
            log.write("couch2pg.service: Start request repeated too quickly.\n")
        errors = run_module("couch2pg_log_info", {"log": target.log})["summary"]["errors"]
        assert [seen["kind"] for seen in errors] == ["bad_password", "service_gave_up"]
        settings()
        host.run("sh", "-c", errors[1]["remedy"].partition("then: ")[2])
        couch2pg.wait_for(COMPLETED)


@pytest.mark.long
def test_a_lock_that_is_waited_for_too_short_a_time(target: Target) -> None:
    execute(target.cluster, f"ALTER DATABASE {target.database} SET lock_timeout = '200ms'")
    target.change()
    holder = target.cluster.connect(target.database)
    try:
        with holder.cursor() as cursor:
            cursor.execute("BEGIN; REFRESH MATERIALIZED VIEW form_metadata")
        seen = errors_of(target)[-1]
    finally:
        holder.close()
    assert seen["kind"] == "statement_timeout"
    assert "SET lock_timeout = 0;" in seen["remedy"]
    run_statements(target, seen["remedy"])
    becomes_healthy(target)


@pytest.mark.long
def test_a_full_disk(target: Target, small_disk: Path) -> None:
    """Neither the import nor the refresh finds room, and the process ends."""
    resize(small_disk, "100m")
    execute(target.cluster, f"CREATE TABLESPACE small LOCATION '{folder_of_server(small_disk)}'")
    try:
        execute(target.cluster, f"ALTER DATABASE {target.database} SET TABLESPACE small")
        fill(small_disk, 200_000)
        target.couchdb.put(
            "medic", [{"_id": f"large-{n}", "type": "x", "text": os.urandom(20000).hex()} for n in range(20)]
        )
        since = target.position()
        with target.make() as couch2pg:
            assert couch2pg.wait_for_end() == 1
            errors = target.health(since=since, process=None, timeout=1)["details"]["errors"]
        assert {seen["kind"] for seen in errors} == {"postgres_full"}
        assert "Then start couch2pg again" in errors[0]["remedy"]
        resize(small_disk, "200m")
        becomes_healthy(target)
    finally:
        seed.drop_database(target.cluster, target.database)
        execute(target.cluster, "DROP TABLESPACE small")


SERVER, NOBODY = "127.77.0.1", "127.77.0.2"


@pytest.fixture
def on_the_usual_port() -> Iterator[Cluster]:
    """The entrypoint of the image knows no other."""
    folder = Path(tempfile.mkdtemp(prefix="usual-", dir=places.work_folder("clusters")))
    made = Cluster.create(folder, binaries.binaries(18), settings={"listen_addresses": SERVER, "port": "5432"})
    made.host, made.port = SERVER, 5432
    made.remember(made.superuser, made.password)
    with made:
        yield made


@pytest.mark.long
def test_a_server_that_has_no_more_connections(couchdb: CouchDB, tmp_path: Path) -> None:
    """The query shows who has them; with a higher limit there is one for couch2pg, too."""
    folder = Path(tempfile.mkdtemp(prefix="few-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(18), settings={"max_connections": "8"}) as cluster:
        seed.create_role(cluster, seed.OWNER, PASSWORD)
        seed.create_database(cluster, "cht")
        target = Target(cluster, "cht", couchdb, tmp_path)
        with ExitStack() as others:
            for _number in range(5):
                others.enter_context(closing(cluster.connect(user=seed.OWNER, password=PASSWORD)))
            since = target.position()
            with target.make() as couch2pg:
                assert couch2pg.wait_for_end() == 1
                (seen,) = target.health(since=since, process=None, timeout=1)["details"]["errors"]
            assert seen["kind"] == "too_many_connections"
            query, statement = re.findall(r"(?:SELECT|ALTER) [^;]+;", seen["remedy"])
            first = target.shell(f'psql --no-align --tuples-only --command="{query}" postgres').splitlines()[0]
            assert first == f"{seed.OWNER}|127.0.0.1|5"
            execute(cluster, statement.replace("HIGHER_NUMBER", "30"))
        cluster.stop()
        cluster.start()
        becomes_healthy(target)
        processes.kill_all([pid for job in target.state.glob("*/jobs/*") for pid in processes.of_job(job)])


@pytest.mark.long
def test_the_entrypoint_of_a_container(on_the_usual_port: Cluster, couchdb: CouchDB, tmp_path: Path) -> None:
    """Each server is waited for in vain, for every reason that the remedy tells apart."""
    cluster, name = on_the_usual_port, "cht"
    seed.create_role(cluster, seed.OWNER, PASSWORD)
    seed.create_database(cluster, name)
    target = Target(cluster, name, couchdb, tmp_path)
    good = target.variables["COUCHDB_URL"]
    del target.variables["POSTGRESQL_URL"]
    target.variables.update(
        POSTGRES_USER_NAME=seed.OWNER, POSTGRES_PASSWORD=quote(PASSWORD, safe=""), POSTGRES_DB_NAME=name
    )
    target.variables.update(POSTGRES_SERVER_NAME=NOBODY, WAIT_THRESHOLD="1", SLEEP_SECONDS="0.1")

    def remedy_of(kind: str) -> str:
        since = target.position()
        with target.make() as couch2pg:
            assert couch2pg.wait_for_end() == 1
            (seen,) = target.health(since=since, process=None, timeout=1)["details"]["errors"]
        assert seen["kind"] == kind
        return str(seen["remedy"])

    def status(remedy: str, password: str) -> str:
        (command,) = re.findall(r"curl .*?/medic\S*", remedy)
        return target.shell(command, entered=f"{password}\n").split()[1]

    (command,) = re.findall(r"pg_isready \S+ \S+", remedy_of("entrypoint_no_postgres"))
    with pytest.raises(AssertionError):
        target.shell(command)
    target.shell(command.replace(NOBODY, SERVER))
    target.variables["POSTGRES_SERVER_NAME"] = SERVER
    target.variables["COUCHDB_URL"] = good.replace(f"{USER}:", f"{USER}:wrong", 1)
    remedy = remedy_of("entrypoint_no_couchdb")
    assert status(remedy, "wrong") == "401"
    assert status(remedy, couchdb.password) == "200"
    target.variables["COUCHDB_URL"] = f"{good}al"
    assert status(remedy_of("entrypoint_no_couchdb"), couchdb.password) == "404"
    target.variables["COUCHDB_URL"] = good
    with target.make() as couch2pg:
        couch2pg.wait_for(COMPLETED)
    processes.kill_all([pid for job in target.state.glob("*/jobs/*") for pid in processes.of_job(job)])
