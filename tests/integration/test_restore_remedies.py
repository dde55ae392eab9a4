# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_restore refuses is told with advice; after it was followed as it is printed, the same migration is restored."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import pytest
import yaml
from support import binaries, places, seed
from support.by_phases import Phases
from support.cases import rarely
from support.clusters import Cluster
from support.migration import execute

Fresh = Callable[[Cluster], str]
PARAMETERS = "couch2pg_function_search_path: "
COUCH2PG = "CREATE TABLE couchdb (doc jsonb); ALTER TABLE couchdb OWNER TO couch2pg;"

# An index or a partition that doesn't have what it should: its catalog entry is changed while the row comes in.
HIDDEN = """
CREATE TABLE keys (a {type}, {more}); INSERT INTO keys VALUES ('{first}');
UPDATE pg_index SET indisready = false WHERE indrelid = 'keys'::regclass; INSERT INTO keys VALUES ('{second}');
UPDATE pg_index SET indisready = true WHERE indrelid = 'keys'::regclass;
"""
DUPLICATES = HIDDEN.format(type="text", more="UNIQUE (a)", first="one", second="one")
OVERLAPS = HIDDEN.format(type="int4range", more="EXCLUDE USING gist (a WITH &&)", first="[1,5)", second="[2,3)")
ORPHANS = """
CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (p int REFERENCES parent); ALTER TABLE child DISABLE TRIGGER ALL;
INSERT INTO child VALUES (7); ALTER TABLE child ENABLE TRIGGER ALL;
"""
NULLS = """
CREATE TABLE keys (a int NOT NULL); UPDATE pg_attribute SET attnotnull = false WHERE attrelid = 'keys'::regclass AND attname = 'a';
INSERT INTO keys VALUES (NULL); UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'keys'::regclass AND attname = 'a';
"""
OF_DOMAIN = """
CREATE TABLE known (n int); INSERT INTO known VALUES (1);
CREATE FUNCTION is_known(int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 IN (SELECT n FROM public.known)';
CREATE DOMAIN one AS int CHECK (is_known(VALUE)); CREATE TABLE early (k one); INSERT INTO early VALUES (1); DELETE FROM known;
"""
PARTITIONS = """
CREATE TABLE parts (a text) PARTITION BY LIST (a); CREATE TABLE "Part 1" PARTITION OF parts FOR VALUES IN ('one');
CREATE TABLE other PARTITION OF parts DEFAULT; UPDATE pg_class SET relispartition = false WHERE relname = 'Part 1';
INSERT INTO "Part 1" VALUES ('two'); UPDATE pg_class SET relispartition = true WHERE relname = 'Part 1';
"""
UNQUALIFIED = """
CREATE FUNCTION unsafe(text) RETURNS bigint IMMUTABLE LANGUAGE {language} AS '{body}'; CREATE TABLE t (a text);
INSERT INTO t VALUES ('x'); CREATE INDEX ON t (unsafe(a));
"""
IN_SQL = UNQUALIFIED.format(language="sql", body="SELECT count(*) FROM couchdb")
IN_PLPGSQL = UNQUALIFIED.format(language="plpgsql", body="BEGIN RETURN (SELECT count(*) FROM couchdb); END")


@pytest.fixture
def phases(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, client_dir: Path, tmp_path: Path
) -> Iterator[Phases]:
    seed.create_role(target_cluster, seed.OWNER)
    made = Phases(source_cluster, target_cluster, client_dir, tmp_path, fresh_database(source_cluster))
    yield made
    seed.drop_database(target_cluster, made.incoming)


def harm(phases: Phases, statements: str) -> None:
    """In the source's database, also to the catalogs."""
    connection = phases.source.connect(phases.database, options="-c allow_system_table_mods=on")
    connection.cursor().execute(COUCH2PG + statements)
    connection.close()


def dump_again(phases: Phases, message: str) -> None:
    """What the printed command does."""
    assert re.search(r" -e couch2pg_restart_from=dump(\)\.)?$", message), message
    for phase in ("restore", "dump"):
        assert not phases.restart(phase).get("failed")
    phases.run("dump", "transfer")


def without_the_index(change: str) -> Callable[[str], str]:
    """The row is found as the message says: with its index, it is not."""

    def remedy(message: str) -> str:
        return f"{message.split('without the index (')[1].split(')', maxsplit=1)[0]} {change}; REINDEX TABLE keys"

    return remedy


def moved(message: str) -> str:
    """Out of the partition that the message names, into the table."""
    condition = message.split("must meet: ")[1].split(";", maxsplit=1)[0]
    statement = message.split("are not generated: ")[1].split(";", maxsplit=1)[0]
    for word, value in (("CONDITION", "a = 'one'"), ("COLUMNS", "a"), ("PARENT", "parts")):
        statement = statement.replace(word, value)
    return f"{condition}; {statement}"


def of_domain(message: str) -> str:
    """The constraint, whose expression the message doesn't know."""
    return (
        message.split("after the rows: ")[1].split(" After a change", maxsplit=1)[0].replace("...", "is_known(VALUE)")
    )


def printed(message: str) -> str:
    """The statement for the source."""
    return message.split("on the source instead: ")[1].split(";", maxsplit=1)[0].replace("...", "unsafe")


@dataclass(frozen=True)
class OnSource:
    """harm: statements; words: of the message; remedy: the statement that follows from the message."""

    harm: str
    words: str
    remedy: Callable[[str], str]


ON_SOURCE = {
    "duplicates": OnSource(
        DUPLICATES,
        "Key (a)=(one) is duplicated",
        without_the_index("DELETE FROM keys WHERE ctid = '(0,2)' AND a = 'one'"),
    ),
    "overlaps": OnSource(
        OVERLAPS, "Key (a)=([1,5)) conflicts", without_the_index("DELETE FROM keys WHERE a = '[2,3)'")
    ),
    "orphans": OnSource(ORPHANS, "Key (p)=(7) is not present", lambda _message: "DELETE FROM child WHERE p = 7"),
    "nulls": OnSource(
        NULLS, "null value in column", lambda _message: "DELETE FROM keys WHERE a IS NOT DISTINCT FROM NULL"
    ),
    "a domain": OnSource(OF_DOMAIN, "value for domain public.one violates", of_domain),
    "partitions": OnSource(PARTITIONS, "violates partition constraint", moved),
    "SQL": OnSource(IN_SQL, "The function unsafe uses", printed),
    "PL/pgSQL": OnSource(IN_PLPGSQL, "The function public.unsafe(text) uses", printed),
}


@pytest.mark.parametrize("case", ["duplicates", *(rarely(name) for name in ON_SOURCE if name != "duplicates")])
def test_a_cause_on_the_source(case: str, phases: Phases) -> None:
    given = ON_SOURCE[case]
    harm(phases, given.harm)
    phases.run("dump", "transfer")
    message = phases.fail("restore")
    assert given.words in message
    execute(phases.source, given.remedy(message), phases.database)
    dump_again(phases, message)
    phases.run("restore", "refresh", "verify")


@pytest.mark.parametrize("name", ["SQL", rarely("PL/pgSQL")])
def test_a_search_path_on_the_target(name: str, phases: Phases) -> None:
    harm(phases, ON_SOURCE[name].harm)
    phases.run("dump", "transfer")
    message = phases.fail("restore")
    paths = yaml.safe_load(re.findall(r"(\{.*?\})", message)[0].replace("(integer)", "(text)"))
    phases.options["restore"] = {"function_search_path": paths}
    phases.run("restore", "refresh", "verify")


READS = """
CREATE SCHEMA "Closed"; CREATE TABLE "Closed"."Secret" (n int); INSERT INTO "Closed"."Secret" VALUES (4);
CREATE FUNCTION "Closed".half(int) RETURNS int LANGUAGE plpgsql AS
    'BEGIN RETURN (SELECT $1 / 2 FROM "Closed"."Secret" LIMIT 1); END';
REVOKE EXECUTE ON FUNCTION "Closed".half(int) FROM PUBLIC;
CREATE MATERIALIZED VIEW told AS SELECT "Closed".half(n) AS n FROM "Closed"."Secret"; ALTER MATERIALIZED VIEW told OWNER TO couch2pg;
"""


@pytest.mark.parametrize("there", ["source", rarely("target")])
def test_a_view_whose_owner_may_not_read(there: str, phases: Phases) -> None:
    """One privilege after the other is granted, where the message says."""
    harm(phases, READS)
    phases.run("dump", "transfer", "restore")
    followed = []
    while len(followed) < 5:
        result = phases.attempt("refresh")
        if not result.get("failed"):
            break
        grant = (
            result["msg"]
            .split("The owner of the view lacks a privilege. On the target, as a superuser: ")[1]
            .split(";")[0]
        )
        followed.append(grant)
        if there == "target":
            execute(phases.target, grant, phases.incoming)
        else:
            execute(phases.source, grant, phases.database)
            command = result["msg"].split("dump again: ")[1].split(". After")[0]
            dump_again(phases, command)
            phases.run("restore")
    assert len(followed) == 3, followed
    if there == "target":
        assert "GRANT" in phases.fail("verify") or "grants" in phases.fail("verify")
    else:
        phases.run("verify")


@pytest.mark.long
@pytest.mark.usefixtures("another")
def test_a_temporary_role_that_is_used_elsewhere(phases: Phases) -> None:
    """Somebody gave it something while the restore waited for its next attempt."""
    harm(phases, IN_PLPGSQL + '; GRANT SELECT ON couchdb TO "Only here"')
    phases.run("dump", "transfer")
    phases.options["restore"] = {"role_map": {"Only here": "couch2pg"}}
    message = phases.fail("restore")
    paths = yaml.safe_load(re.findall(r"(\{.*?\})", message)[0])
    execute(
        phases.target,
        'CREATE TABLE of_role (n int); ALTER TABLE of_role OWNER TO "Only here"; CREATE TABLE other (n int)',
    )
    execute(phases.target, 'GRANT SELECT ON other TO "Only here"')
    phases.options["restore"]["function_search_path"] = paths
    message = phases.fail("restore")
    databases = message.split("databases of the target: ")[1].split(",")[0]
    execute(phases.target, message.split("as a superuser: ")[1].replace(" Then run again.", ""), databases)
    phases.run("restore", "refresh", "verify")
    execute(phases.target, "DROP TABLE of_role, other")


@dataclass(frozen=True)
class OnTarget:
    """harm: statements on the source; role: its attributes on the target; words: of the message; remedy: follows the message."""

    harm: str
    role: str
    words: str
    remedy: Callable[[Phases, str], None]


def run_statement(phases: Phases, message: str) -> None:
    """The statement that the message prints for a superuser of the target."""
    execute(phases.target, message.split("as a superuser: ")[1].split(";", maxsplit=1)[0])


def create_role(phases: Phases, message: str) -> None:
    """The statement in brackets."""
    execute(phases.target, message.split("Create it there (")[1].split(")", maxsplit=1)[0])


def become_member(phases: Phases, message: str) -> None:
    """As the message says."""
    assert "or to a member of the roles that own the objects" in message
    execute(phases.target, 'GRANT "Another" TO "Rests 50%"')


def become_superuser(phases: Phases, message: str) -> None:
    """As the message says."""
    assert "Set couch2pg_login_user to a superuser of the target" in message
    del phases.options["restore"]["login_user"], phases.options["restore"]["login_password"]


def give_on_source(phases: Phases, message: str) -> None:
    """The table belongs to a role that may create there, and all is dumped again."""
    statement = message.split("in the source's database: ")[1].split(";", maxsplit=1)[0]
    execute(phases.source, statement.replace("...", "couch2pg"), phases.database)
    dump_again(phases, message)


OF_ANOTHER = 'CREATE TABLE of_another (a int); ALTER TABLE of_another OWNER TO "Another"'
IN_ITS_SCHEMA = 'CREATE SCHEMA "Own" CREATE TABLE own (a int); ALTER SCHEMA "Own" OWNER TO "Another"; '
IN_ITS_SCHEMA += 'ALTER TABLE "Own".own OWNER TO "Another"'
ON_TARGET = {
    "few connections": OnTarget(
        "", "CREATEDB CREATEROLE CONNECTION LIMIT 4 IN ROLE couch2pg", "too many connections for role", run_statement
    ),
    "no database": OnTarget("", "CREATEROLE IN ROLE couch2pg", "permission denied to create database", run_statement),
    "no role": OnTarget(
        'GRANT SELECT ON couchdb TO "Only here"',
        "CREATEDB IN ROLE couch2pg",
        "'Rests 50%' may not create it",
        create_role,
    ),
    "no owner": OnTarget("", "CREATEDB", 'must be able to SET ROLE "couch2pg"', run_statement),
    "no member": OnTarget(IN_ITS_SCHEMA, "CREATEDB IN ROLE couch2pg", "must be able to SET ROLE", become_member),
    "no superuser": OnTarget(IN_ITS_SCHEMA, "CREATEDB IN ROLE couch2pg", "must be able to SET ROLE", become_superuser),
    "closed schema": OnTarget(
        OF_ANOTHER, 'CREATEDB IN ROLE couch2pg, "Another"', "permission denied for schema public", give_on_source
    ),
}


@pytest.fixture
def another(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[None]:
    """Two roles, of which one logs in on the target."""
    for cluster in (source_cluster, target_cluster):
        execute(cluster, 'CREATE ROLE "Another"')
    execute(source_cluster, 'CREATE ROLE "Only here"')
    yield
    for cluster in (source_cluster, target_cluster):
        execute(cluster, 'DROP ROLE IF EXISTS "Only here"; DROP ROLE IF EXISTS "Rests 50%"; DROP ROLE "Another"')


@pytest.fixture(scope="module")
def debian() -> Iterator[Cluster]:
    """A server with the extensions of contrib."""
    folder = Path(tempfile.mkdtemp(prefix="contrib-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.of_distribution()) as made:
        seed.create_role(made, seed.OWNER)
        yield made


@pytest.fixture
def from_debian(debian: Cluster, target_cluster: Cluster, database_name: str, tmp_path: Path) -> Iterator[Phases]:
    """Its own pg_dump reads it."""
    seed.create_role(target_cluster, seed.OWNER)
    seed.create_database(debian, database_name)
    made = Phases(debian, target_cluster, debian.binaries.bin_dir, tmp_path, database_name)
    yield made
    for cluster in (debian, target_cluster):
        seed.drop_database(cluster, made.incoming)
    seed.drop_database(debian, database_name)


@pytest.mark.long
def test_an_extension_that_the_target_lacks(phases: Phases, extension_folder: Path, fresh_database: Fresh) -> None:
    """It is left out, or installed."""
    phases.source = phases.target
    fresh_database(phases.source)
    phases.options["restore"] = {"replace_existing": True}
    control = extension_folder / "of_somebody.control"
    control.write_text("default_version = '1'\n", encoding="utf-8")
    (extension_folder / "of_somebody--1.sql").write_text(
        "CREATE FUNCTION f() RETURNS int RETURN 1;\n", encoding="utf-8"
    )
    harm(phases, "CREATE EXTENSION of_somebody")
    phases.run("dump", "transfer")
    control = control.rename(control.with_suffix(".away"))
    message = phases.fail("restore")
    phases.options["dump"] = {"leave_out": yaml.safe_load(message.split("couch2pg_leave_out: ")[1].split(". After")[0])}
    dump_again(phases, message)
    phases.run("restore", "refresh", "verify")
    phases.options["dump"] = {}
    dump_again(phases, message)
    phases.fail("restore")
    control.rename(control.with_suffix(".control"))
    phases.run("restore", "refresh", "verify")
    seed.drop_database(phases.target, phases.incoming)


@pytest.mark.long
@pytest.mark.usefixtures("another")
def test_an_extension_that_a_role_may_not_create(debian: Cluster, from_debian: Phases) -> None:
    phases = from_debian
    phases.target = debian
    harm(phases, "CREATE EXTENSION file_fdw")
    password = seed.create_role(debian, "Rests 50%")
    execute(debian, f'ALTER ROLE "Rests 50%" CREATEDB; GRANT {seed.OWNER} TO "Rests 50%"')
    phases.options["restore"] = {"login_user": "Rests 50%", "login_password": password, "replace_existing": True}
    phases.run("dump", "transfer")
    become_superuser(phases, phases.fail("restore"))
    phases.run("restore", "refresh", "verify")
    seed.drop_database(debian, phases.incoming)
    execute(debian, 'DROP ROLE "Rests 50%"')


@pytest.mark.long
def test_a_server_that_has_no_more_connections(phases: Phases) -> None:
    """Each remedy: fewer jobs, and a higher limit, which needs a restart."""
    folder = Path(tempfile.mkdtemp(prefix="few-", dir=places.work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(18), settings={"max_connections": "10"}) as small:
        seed.create_role(small, seed.OWNER)
        phases.target = small
        harm(phases, "")
        phases.run("dump", "transfer")
        phases.options["restore"] = {"jobs": 16}
        message = phases.fail("restore")
        assert "Set couch2pg_jobs lower, or end idle sessions on the target, or raise max_connections" in message
        phases.options["restore"] = {"jobs": 2}
        phases.run("restore")
        assert not phases.restart("restore").get("failed")
        phases.options["restore"] = {"jobs": 16}
        phases.fail("restore")
        connection = small.connect()
        connection.cursor().execute(message.split("there (")[1].split(")")[0].replace("...", "60"))
        connection.close()
        small.stop()
        small.start()
        phases.run("restore", "refresh", "verify")


@pytest.mark.parametrize(
    "case", ["few connections", *(rarely(name) for name in ON_TARGET if name != "few connections")]
)
@pytest.mark.usefixtures("another")
def test_a_role_of_the_target(case: str, phases: Phases) -> None:
    """Somebody who uses the role restore alone, without preflight, or whose server has changed since."""
    given = ON_TARGET[case]
    harm(phases, given.harm)
    password = seed.create_role(phases.target, "Rests 50%")
    execute(phases.target, f'DROP ROLE "Rests 50%"; CREATE ROLE "Rests 50%" LOGIN PASSWORD \'{password}\' {given.role}')
    phases.options["restore"] = {"login_user": "Rests 50%", "login_password": password, "jobs": 8}
    phases.run("dump", "transfer")
    message = phases.fail("restore")
    print(message)
    assert given.words in message
    given.remedy(phases, message)
    try:
        phases.run("restore", "refresh", "verify")
    finally:
        seed.drop_database(phases.target, phases.incoming)
        seed.drop_database(phases.source, phases.database)


CALLS = """
CREATE FUNCTION public.counted(int) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) + $1 FROM couchdb); END';
CREATE MATERIALIZED VIEW told AS SELECT public.counted(1) AS n; ALTER MATERIALIZED VIEW told OWNER TO couch2pg;
"""


@pytest.mark.parametrize("there", ["target", rarely("source")])
def test_a_view_that_calls_a_function_without_a_search_path(there: str, phases: Phases) -> None:
    """From PostgreSQL 17 on, a refresh has an empty one."""
    harm(phases, CALLS)
    phases.run("dump", "transfer", "restore")
    message = phases.fail("refresh")
    if there == "target":
        paths = yaml.safe_load(re.findall(r"couch2pg_function_search_path: (\{.*?\})", message)[0])
        phases.options["restore"] = {"function_search_path": paths}
    else:
        execute(phases.source, printed(message), phases.database)
        dump_again(phases, message.split("dump again: ")[1].split(". After", maxsplit=1)[0])
    phases.run("restore", "refresh", "verify")


def documents(phases: Phases) -> None:
    """So many that the archive has a file to damage."""
    harm(
        phases,
        "INSERT INTO couchdb SELECT jsonb_build_object('_id', n, 't', md5(n::text)) FROM generate_series(1, 5000) AS n",
    )


def damage(file: Path, at: int, with_bytes: bytes) -> None:
    """As a disk does: neither size nor time tells."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(with_bytes)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.long
def test_an_archive_that_was_damaged_after_its_check(phases: Phases) -> None:
    """The next run reads every file, and its command fetches the archive again, or makes it again."""
    documents(phases)
    phases.run("dump", "transfer")
    file = max(phases.archive.rglob("*.dat.gz"), key=lambda path: path.stat().st_size)
    damage(file, file.stat().st_size // 2, b"\xff" * 2000)
    message = phases.fail("restore")
    assert message.partition("run again, which checks the archive first")[1]
    message = phases.fail("restore")
    assert re.search(f"differs from its manifest: .*archive/{file.name}", message), message
    dump_again(phases, message)
    phases.run("restore", "refresh", "verify")


@pytest.mark.long
def test_an_archive_that_pg_restore_can_not_decompress(phases: Phases) -> None:
    """No program here writes zstd, so the head of the archive says that it does."""
    documents(phases)
    phases.run("dump", "transfer")
    head = phases.archive / "archive" / "toc.dat"
    damage(head, 11, b"\3")
    message = phases.fail("restore")
    assert "This pg_restore was built without the archive's compression." in message
    phases.options["dump"] = {"compression": re.findall(r"couch2pg_compression: (\S+)\.", message)[0]}
    dump_again(phases, message)
    phases.run("restore", "refresh", "verify")
