# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases from public reports: preflight says what is true of each, and the remedy that it prints works."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Iterator

import psycopg2
import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.messages import sentence
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import collations, public_schema
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.public_schema import PublicSchema
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import seed
from support.clusters import Cluster
from support.migration import column, execute
from support.modules import login, run_module
from support.preflight import failures, finding, look, look_at_target, schema_of

CASES = Path(__file__).parents[1] / "support" / "sql" / "cases"
Fresh = Callable[[Cluster], str]


def made(cluster: Cluster, database: str, case: str) -> str:
    execute(cluster, (CASES / f"{case}.sql").read_text(encoding="utf-8"), database)
    return database


def settings(cluster: Cluster, database: str) -> ConnectionSettings:
    return ConnectionSettings(database, cluster.host, cluster.port, password=cluster.password)


def test_an_invalid_index_is_left_out(source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]) -> None:
    name = made(source_cluster, fresh_database(source_cluster), "invalid-index")
    execute(source_cluster, "CREATE FUNCTION pg_catalog.left_behind() RETURNS int LANGUAGE sql AS 'SELECT 1'", name)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        execute(source_cluster, "CREATE UNIQUE INDEX CONCURRENTLY i_id ON i (id)", name)
    told = finding(look(place, source_cluster, name), "not copied")
    assert told["status"] == "warning"
    assert "the invalid indexes public.i_id, which pg_dump leaves out" in told["message"]
    assert "pg_catalog.left_behind(), which pg_dump leaves out" in told["message"]
    execute(source_cluster, "DROP INDEX i_id; DROP FUNCTION pg_catalog.left_behind()", name)
    assert finding(look(place, source_cluster, name), "not copied")["status"] == "ok"


def test_hidden_oids_are_not_copied(old_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]) -> None:
    """pg_dump since 12 leaves them out without a word."""
    name = fresh_database(old_cluster)
    execute(old_cluster, "CREATE TABLE couchdb (doc jsonb); CREATE TABLE early (n int) WITH OIDS", name)
    assert (
        "the oids of rows of public.early (declared WITH OIDS"
        in finding(look(place, old_cluster, name), "not copied")["message"]
    )


EXPIRED = """
CREATE TABLE couchdb (doc jsonb);
CREATE FUNCTION small(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 100';
CREATE TABLE counted (n int CONSTRAINT "few ones" CHECK (small(n))); CREATE TABLE counted_too () INHERITS (counted);
INSERT INTO counted_too VALUES (50);
CREATE TABLE tickets (id int, until date, CHECK (until >= CURRENT_DATE)) PARTITION BY LIST (id);
CREATE TABLE tickets_1 PARTITION OF tickets DEFAULT; INSERT INTO tickets VALUES (1, CURRENT_DATE);
CREATE TABLE sound (n int CHECK (n > 0), at timestamptz DEFAULT now() CHECK (at <= now())); INSERT INTO sound VALUES (1);
"""


def test_rows_that_break_their_own_constraint(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """A function was replaced, or time has passed. Each remedy helps, and then the restore, too."""
    name = fresh_database(source_cluster)
    execute(source_cluster, EXPIRED, name)
    assert failures(look(place, source_cluster, name)) == []
    execute(
        source_cluster,
        "CREATE OR REPLACE FUNCTION small(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 10'",
        name,
    )
    execute(
        source_cluster,
        "SET session_replication_role = replica; ALTER TABLE tickets DROP CONSTRAINT tickets_until_check",
        name,
    )
    execute(
        source_cluster,
        "UPDATE tickets SET until = '2020-01-01'; ALTER TABLE tickets ADD CHECK (until >= CURRENT_DATE) NOT VALID",
        name,
    )
    execute(source_cluster, "UPDATE pg_constraint SET convalidated = true WHERE conname = 'tickets_until_check'", name)
    for table in ("counted", "tickets"):
        refused = look(place, source_cluster, name)
        assert failures(refused) == ["constraints"]
        message = finding(refused, "constraints")["message"]
        assert f'Rows of "public"."{table}" break their own constraint' in message
        assert len(column(source_cluster, message.split('Find them with "')[1].split('" and correct')[0], name)) == 1
        execute(source_cluster, message.split('on the source, "')[1].split('". Then')[0], name)
    assert failures(look(place, source_cluster, name)) == []
    dumped = run_module("pg_dump", {**login(source_cluster, name), **place})
    incoming = f"{name}_incoming"
    options = {**login(target_cluster, name), **place, "archive": dumped["archive"], "incoming": incoming}
    del options["staging_dir"]
    try:
        restored = run_module("pg_restore", options)
        assert not restored.get("failed"), restored
        assert column(target_cluster, "SELECT n FROM counted", incoming) == [50]
    finally:
        seed.drop_database(target_cluster, incoming)


def test_rows_of_a_child_in_another_order(
    source_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """pg_dump | psql exchanges the two fields without a word."""
    name = fresh_database(source_cluster)
    statements = """
        CREATE TABLE couchdb (doc jsonb); CREATE TABLE parent (a int); CREATE TABLE child (own text) INHERITS (parent);
        CREATE TABLE grandchild () INHERITS (child); ALTER TABLE parent ADD late text;
        INSERT INTO child VALUES (1, 'own', 'late');
        CREATE DOMAIN rows AS child[]; CREATE TABLE holder (id int, rows rows); INSERT INTO holder SELECT 1, ARRAY[child] FROM child;
    """
    execute(source_cluster, statements, name)
    refused = look(place, source_cluster, name)
    assert failures(refused) == ["row types"]
    assert "public.holder.rows holds rows of the table public.child" in finding(refused, "row types")["message"]
    assert "(a, late, own)" in finding(refused, "row types")["message"]
    execute(source_cluster, "ALTER TABLE holder ALTER COLUMN rows TYPE jsonb USING to_jsonb(rows)", name)
    assert failures(look(place, source_cluster, name)) == []
    # A child that got everything after its parent has the same order.
    execute(source_cluster, "CREATE TABLE same (z int) INHERITS (parent); CREATE TABLE fine (rows same[])", name)
    assert failures(look(place, source_cluster, name)) == []


BROKEN = """
CREATE TABLE couchdb (doc jsonb); CREATE TABLE users (name text, live boolean);
CREATE UNIQUE INDEX "users name" ON users (lower(name)) WHERE live;
CREATE TABLE visits (user_id int); CREATE TABLE ids (id int PRIMARY KEY); INSERT INTO ids VALUES (1);
ALTER TABLE visits ADD CONSTRAINT known FOREIGN KEY (user_id) REFERENCES ids;
UPDATE pg_index SET indisready = false WHERE indexrelid = '"users name"'::regclass;
"""


def test_rows_that_break_their_own_keys(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """An index that a new version of the C library has broken accepts a key twice; a disabled trigger lets an orphan in."""
    name = fresh_database(source_cluster)
    execute(source_cluster, BROKEN, name)
    execute(source_cluster, "INSERT INTO users VALUES ('Ann', true), ('ann', true), (NULL, true)", name)
    execute(source_cluster, "SET session_replication_role = replica; INSERT INTO visits VALUES (1), (7)", name)
    execute(source_cluster, "UPDATE pg_index SET indisready = true WHERE indexrelid = '\"users name\"'::regclass", name)
    # Without a sign of a new version, nothing searches for equal keys.
    assert failures(look(place, source_cluster, name)) == ["foreign keys"]
    dumped = run_module("pg_dump", {**login(source_cluster, name), **place})
    incoming = f"{name}_incoming"
    options = {**login(target_cluster, name), **place, "archive": dumped["archive"], "incoming": incoming}
    del options["staging_dir"]
    try:
        messages = run_module("pg_restore", options)["details"]["messages"]
        told = {message["kind"]: sentence(message) for message in messages}
        assert "(Key (lower(name))=(ann) is duplicated)" in told["duplicates"]
        assert '(Key (user_id)=(7) is not present in table "ids")' in told["orphans"]
    finally:
        seed.drop_database(target_cluster, incoming)


ORPHANS = """
CREATE TABLE couchdb (doc jsonb);
CREATE TABLE places (kind varchar(5), id int, other char(3), PRIMARY KEY (kind, id)); INSERT INTO places VALUES ('a', 1);
CREATE TABLE people (place text, "Id" bigint, n int, CONSTRAINT "lives at" FOREIGN KEY (place, "Id") REFERENCES places);
CREATE TABLE sorts (place varchar, id int, FOREIGN KEY (place, id) REFERENCES places MATCH FULL) PARTITION BY LIST (id);
CREATE TABLE sorts_1 PARTITION OF sorts DEFAULT; INSERT INTO sorts VALUES ('a', 1), (NULL, NULL);
CREATE TABLE unknown (id int); INSERT INTO unknown VALUES (5);
ALTER TABLE unknown ADD CONSTRAINT "not checked" FOREIGN KEY (id) REFERENCES unknown_keys NOT VALID;
INSERT INTO people VALUES ('a', 1), ('b', NULL), (NULL, 3);
"""


def test_rows_that_break_their_own_foreign_key(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """Each remedy helps, and then the restore, too."""
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE unknown_keys (id int PRIMARY KEY);" + ORPHANS, name)
    assert failures(look(place, source_cluster, name)) == []
    disabled = "SET session_replication_role = replica; INSERT INTO"
    for into, table in (("people VALUES ('a', 2)", "people"), ("sorts VALUES ('c', 7)", "sorts")):
        execute(source_cluster, f"{disabled} {into}", name)
        message = finding(look(place, source_cluster, name), "foreign keys")["message"]
        assert f'Rows of "public"."{table}" break their own foreign key' in message
        query = message.split('Find them with "')[1].split('" and correct')[0]
        assert len(column(source_cluster, query, name)) == 1
        if table == "people":
            execute(source_cluster, message.split('on the source, "')[1].split('". Then')[0], name)
        else:
            assert "NOT VALID" not in message
            execute(source_cluster, "DELETE FROM sorts WHERE id = 7", name)
        assert failures(look(place, source_cluster, name)) == []
    incoming = f"{name}_incoming"
    dumped = run_module("pg_dump", {**login(source_cluster, name), **place})
    options = {**login(target_cluster, name), **place, "archive": dumped["archive"], "incoming": incoming}
    del options["staging_dir"]
    try:
        restored = run_module("pg_restore", options)
        assert not restored.get("failed"), restored
    finally:
        seed.drop_database(target_cluster, incoming)


PERIODS = """
CREATE TABLE couchdb (doc jsonb);
CREATE TABLE rooms (id int4range, span daterange, PRIMARY KEY (id, span WITHOUT OVERLAPS));
INSERT INTO rooms VALUES ('[1,2)', '[2024-01-01,2024-06-01)'), ('[1,2)', '[2024-06-01,)'), ('[2,3)', '[2024-01-01,2024-02-01)');
CREATE TABLE stays (room int4range, span daterange,
    CONSTRAINT "in a room" FOREIGN KEY (room, PERIOD span) REFERENCES rooms (id, PERIOD span));
INSERT INTO stays VALUES ('[1,2)', '[2024-05-01,2024-07-01)'), (NULL, '[2024-05-01,2024-07-01)'), ('[7,8)', NULL);
CREATE TABLE shifts (n int4range, at tsmultirange, PRIMARY KEY (n, at WITHOUT OVERLAPS));
INSERT INTO shifts VALUES ('[1,2)', '{[2024-01-01,2024-01-02)}');
CREATE TABLE works (n int4range, at tsmultirange, FOREIGN KEY (n, PERIOD at) REFERENCES shifts (n, PERIOD at)) PARTITION BY LIST (n);
CREATE TABLE works_1 PARTITION OF works DEFAULT; INSERT INTO works VALUES ('[1,2)', '{[2024-01-01 05:00,2024-01-01 06:00)}');
"""


def test_rows_that_break_their_own_foreign_key_of_periods(
    target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """A period that the other table covers only in part; the remedy helps."""
    name = fresh_database(target_cluster)
    execute(target_cluster, PERIODS, name)
    assert failures(look(place, target_cluster, name)) == []
    disabled = "SET session_replication_role = replica; INSERT INTO"
    for row in (
        "stays VALUES ('[2,3)', '[2024-01-15,2024-02-02)')",
        "works VALUES ('[1,2)', '{[2024-01-01,2024-01-03)}')",
    ):
        table = row.split()[0]
        execute(target_cluster, f"{disabled} {row}", name)
        message = finding(look(place, target_cluster, name), "foreign keys")["message"]
        assert f'Rows of "public"."{table}" break their own foreign key' in message
        query = message.split('Find them with "')[1].split('" and correct')[0]
        assert len(column(target_cluster, query, name)) == 1
        if table == "stays":
            execute(target_cluster, message.split('on the source, "')[1].split('". Then')[0], name)
        else:
            execute(target_cluster, "DELETE FROM works WHERE upper(at) = '2024-01-03'", name)
        assert failures(look(place, target_cluster, name)) == []


NAMING = """
CREATE TABLE couchdb (doc jsonb); CREATE TABLE named (who regrole, what regclass, n int CONSTRAINT named_n UNIQUE);
INSERT INTO named VALUES ('named_only', 'couchdb', 1), (NULL, '-', 2), ('postgres', 'pg_catalog.pg_class_oid_index', 3),
    (4294967295, 4294967295, 4);
CREATE DOMAIN whom AS regrole[]; CREATE TYPE rule AS (rights aclitem[], "To" whom);
CREATE TABLE rules (id int, one aclitem, r rule[]);
INSERT INTO rules VALUES (2, NULL, NULL), (1, '"in =""an"" acl"=r*w/postgres',
    ARRAY[ROW(ARRAY['=/"in acls"', '"1"=r/postgres']::aclitem[], '{in_array}')::rule]);
"""
NAMED = ['in ="an" acl', "in acls", "in_array", "named_only", "1"]


def test_values_that_name_objects(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """Roles that nothing but rows name, one that is gone, and an index, which is made after the rows. Each remedy helps."""
    name = fresh_database(source_cluster)
    quoted = ", ".join('"' + role.replace('"', '""') + '"' for role in (*NAMED, "gone"))
    execute(source_cluster, "".join(f"CREATE ROLE {role};" for role in quoted.split(", ")))
    execute(source_cluster, NAMING, name)
    try:
        facts = look(place, source_cluster, name)["facts"]
        assert facts["named_roles"] == sorted([*NAMED, "postgres"])
        message = finding(look_at_target(place, target_cluster, name, facts), "roles in rows")["message"]
        execute(target_cluster, message.split("On the target, run: ")[1].split("; then")[0])
        assert failures(look_at_target(place, target_cluster, name, facts)) == []
        execute(source_cluster, "INSERT INTO rules VALUES (3, 'gone=r/postgres'); DROP ROLE gone", name)
        refused = look(place, source_cluster, name)
        assert failures(refused) == ["values that name objects"]
        message = finding(refused, "values that name objects")["message"]
        assert "The column public.rules.one has the value " in message
        execute(source_cluster, "DELETE FROM rules WHERE id = 3", name)
        execute(source_cluster, "UPDATE named SET what = 'named_n' WHERE n = 1", name)
        refused = look(place, source_cluster, name)
        assert failures(refused) == ["values that name objects"]
        remedy = finding(refused, "values that name objects")["message"].split("text (")[1].split("), then")[0]
        words = (
            remedy.replace("TABLE ...", "TABLE named")
            .replace("COLUMN ...", "COLUMN what")
            .replace("USING ...", "USING what")
        )
        execute(source_cluster, words, name)
        assert failures(look(place, source_cluster, name)) == []
    finally:
        seed.drop_database(source_cluster, name)
        for cluster in (source_cluster, target_cluster):
            execute(cluster, f"DROP ROLE IF EXISTS {quoted}")


def test_roles_that_only_grants_in_pg_catalog_name(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    try:
        name = made(source_cluster, fresh_database(source_cluster), "grants-in-pg-catalog")
        seed.create_role(target_cluster, seed.OWNER)
        facts = look(place, source_cluster, name)["facts"]
        schema = schema_of(place, source_cluster, name)
        found = look_at_target(place, target_cluster, name, facts, schema=schema)
        assert failures(found) == []
        assert {"backup_operator", "language_user"} <= set(finding(found, "roles")["details"]["roles"])
        assert not column(target_cluster, "SELECT 1 FROM pg_roles WHERE rolname = 'backup_operator'")
    finally:
        seed.drop_database(source_cluster, name)
        execute(source_cluster, "DROP ROLE IF EXISTS backup_operator, language_user")


def test_couch2pg_may_create_in_public_after_14(
    thirteen_cluster: Cluster, target_cluster: Cluster, database_name: str, place: dict[str, Any]
) -> None:
    """CHT's own set-up. pg_dump before 15 doesn't dump the right of every role; the restore carries it over itself."""
    seed.create_role(thirteen_cluster, seed.OWNER)
    seed.create_role(target_cluster, seed.OWNER)
    execute(thirteen_cluster, f"CREATE DATABASE {database_name}")
    execute(thirteen_cluster, f"GRANT ALL ON DATABASE {database_name} TO {seed.OWNER}")
    execute(target_cluster, f"CREATE DATABASE {database_name}")
    may_create = f"SELECT has_schema_privilege('{seed.OWNER}', 'public', 'CREATE')"
    try:
        made(thirteen_cluster, database_name, "public-schema-before-15")
        facts = look(place, thirteen_cluster, database_name)["facts"]
        told = finding(look_at_target(place, target_cluster, "not_there_yet", facts), "schema public")
        assert told["message"] == f"'{seed.OWNER}' will be able to create in it"
        with Session(settings(thirteen_cluster, database_name)) as source:
            everybody = public_schema.everybody_creates(source)
        assert column(target_cluster, may_create, database_name) == [False]
        with Session(settings(target_cluster, database_name)) as target:
            public_schema.carry_over(target, PublicSchema(everybody))
        assert column(target_cluster, may_create, database_name) == [True]
    finally:
        seed.drop_database(thirteen_cluster, database_name)
        seed.drop_database(target_cluster, database_name)


@pytest.mark.parametrize(
    ("server", "usual"), [("target_cluster", "pg_database_owner"), ("thirteen_cluster", "postgres")]
)
def test_schema_public_gets_its_owner(
    server: str, usual: str, request: pytest.FixtureRequest, fresh_database: Callable[[Cluster], str]
) -> None:
    """The superuser of an older source, which pg_dump 15 names, may be an ordinary role on the target: then it is the usual owner."""
    cluster: Cluster = request.getfixturevalue(server)
    name = fresh_database(cluster)
    seed.create_role(cluster, seed.OWNER)
    owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'"
    with Session(settings(cluster, name)) as target:
        for wanted, then in ((seed.OWNER, seed.OWNER), ("pg_database_owner", usual), ("pg_database_owner", usual)):
            public_schema.carry_over(target, PublicSchema(False, wanted))
            assert column(cluster, owner, name) == [then]


def test_the_advice_for_an_empty_database_of_another_owner_works(
    source_cluster: Cluster, target_cluster: Cluster, database_name: str, place: dict[str, Any]
) -> None:
    """The target lacks couch2pg's role, and has an empty database that somebody else owns."""
    role = f"{database_name}_app"
    execute(source_cluster, f"CREATE ROLE {role}")
    execute(source_cluster, f"CREATE DATABASE {database_name} OWNER {role}")
    execute(target_cluster, f"CREATE DATABASE {database_name}")
    try:
        table = f"CREATE TABLE couchdb (doc jsonb); ALTER TABLE couchdb OWNER TO {role}"
        execute(source_cluster, table, database_name)
        facts = look(place, source_cluster, database_name)["facts"]
        told = finding(look_at_target(place, target_cluster, database_name, facts), "schema public")
        assert told["status"] == "failure"
        advice = told["message"].partition("On the target: ")[2]
        assert advice == f'CREATE ROLE "{role}"; ALTER DATABASE "{database_name}" OWNER TO "{role}";'
        for statement in advice.split("; "):
            execute(target_cluster, statement)
        told = finding(look_at_target(place, target_cluster, database_name, facts), "schema public")
        assert told["status"] == "ok"
    finally:
        for cluster in (source_cluster, target_cluster):
            seed.drop_database(cluster, database_name)
            execute(cluster, f"DROP ROLE IF EXISTS {role}")


def test_an_icu_database_whose_c_library_names_are_missing(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    """As CREATE DATABASE x LOCALE_PROVIDER icu ICU_LOCALE 'fr' LC_COLLATE 'xx_XX.UTF-8' makes it, on a host that has xx_XX."""
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    facts = look(place, source_cluster, name)["facts"]
    facts["database"].update(locale_provider="i", locale="fr", lc_collate="xx_XX.UTF-8", lc_ctype="xx_XX.UTF-8")
    seed.create_role(target_cluster, seed.OWNER)
    found = look_at_target(place, target_cluster, name, facts)
    assert finding(found, "locale")["message"] == (
        "The C library on the target's host doesn't have the locale 'xx_XX.UTF-8' of the source. Install it there (Debian: add "
        "it to /etc/locale.gen, run locale-gen), restart PostgreSQL, then run again."
    )


def test_a_locale_of_another_encoding_is_not_missing(target_cluster: Cluster) -> None:
    """PostgreSQL refuses its collation in a UTF8 database, which says nothing about whether the C library has it."""
    with Session(settings(target_cluster, "postgres")) as session:
        listed = session.rows(
            "SELECT collcollate AS name FROM pg_collation WHERE collprovider = 'c' AND collcollate NOT IN ('C', 'POSIX') LIMIT 1"
        )
        for locale in ["C", *(row["name"] for row in listed)]:
            collations.check_libc(session, locale)
        with pytest.raises(MigrationError, match="doesn't have the locale 'xx_XX'"):
            collations.check_libc(session, "xx_XX")


@pytest.fixture
def ascii_database(source_cluster: Cluster, database_name: str) -> Iterator[str]:
    execute(source_cluster, f"CREATE DATABASE {database_name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    connection = source_cluster.connect(database_name, client_encoding="UTF8")
    with connection.cursor() as cursor:
        cursor.execute((CASES / "sql-ascii.sql").read_text(encoding="utf-8"))
    connection.close()
    yield database_name
    seed.drop_database(source_cluster, database_name)


def test_a_database_in_sql_ascii_becomes_utf8(
    source_cluster: Cluster, target_cluster: Cluster, ascii_database: str, place: dict[str, Any]
) -> None:
    found = look(place, source_cluster, ascii_database, encoding="UTF8")
    assert failures(found) == []
    assert "all text on the source is valid UTF-8 (3 rows)." in finding(found, "encoding")["message"]
    schema = schema_of(place, source_cluster, ascii_database, encoding="UTF8")
    assert failures(look_at_target(place, target_cluster, ascii_database, found["facts"], schema=schema)) == []
    dumped = run_module("pg_dump", {**login(source_cluster, ascii_database), **place})
    incoming = f"{ascii_database}_incoming"
    options = {**login(target_cluster, ascii_database), **place, "archive": dumped["archive"], "incoming": incoming}
    del options["staging_dir"]
    try:
        restored = run_module("pg_restore", options)
        digests = [
            {row["table"]: (row["rows"], row["digest"]) for row in each["tables"]} for each in (dumped, restored)
        ]
        assert digests[0] == digests[1]
        assert column(target_cluster, "SELECT v FROM names ORDER BY 1", incoming) == ["Achieng' Ōtieno", "Njeri"]
        assert column(target_cluster, "SHOW server_encoding", incoming) == ["UTF8"]
    finally:
        seed.drop_database(target_cluster, incoming)


def test_the_first_row_that_is_not_utf8_is_named(
    source_cluster: Cluster, ascii_database: str, place: dict[str, Any]
) -> None:
    execute(source_cluster, r"INSERT INTO names VALUES ('plain'), (E'Andr\xe9')", ascii_database)
    refused = look(place, source_cluster, ascii_database, encoding="UTF8")
    assert failures(refused) == ["encoding"]
    message = finding(refused, "encoding")["message"]
    assert message.startswith("A row of public.names holds bytes that are not UTF-8 (0xe9).")
    # The statement that it prints finds the row.
    query = message[message.index("(SELECT") + 1 : message.index("), then run again")]
    connection = source_cluster.connect(ascii_database, client_encoding="LATIN1")
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            assert cursor.fetchall() == [("André",)]
    finally:
        connection.close()


def test_too_few_connections_for_the_jobs(
    source_cluster: Cluster, target_cluster: Cluster, fresh_database: Fresh, place: dict[str, Any]
) -> None:
    name = fresh_database(source_cluster)
    execute(source_cluster, "CREATE TABLE couchdb (doc jsonb)", name)
    facts = look(place, source_cluster, name)["facts"]
    streams = {"method": "stream"}
    for refused, more, whose, least, most in (
        (look_at_target(place, target_cluster, name, facts, jobs=200, **streams), 6, "target", 50, 100),
        # While the rows are copied, the other tables are digested.
        (look(place, source_cluster, name, jobs=200, **streams), 106, "target", 40, 64),
        (look(place, source_cluster, name, jobs=200), 6, "source", 50, 100),
    ):
        message = finding(refused, "connections")["message"]
        assert f"the run needs {200 + more} at a time (couch2pg_jobs: 200, and {more} more)" in message
        jobs = int(message.split(f"Set couch2pg_jobs of the {whose} to ")[1].split(".")[0])
        assert least < jobs < most
    assert "connections" in failures(look(place, source_cluster, name, jobs=jobs, **streams))
    assert failures(look(place, source_cluster, name, jobs=jobs)) == []
    password = seed.create_role(source_cluster, seed.OWNER)
    execute(source_cluster, f"ALTER TABLE couchdb OWNER TO {seed.OWNER}", name)
    execute(source_cluster, f"ALTER ROLE {seed.OWNER} CONNECTION LIMIT 3")
    try:
        owner = {"login_user": seed.OWNER, "login_password": password}
        message = finding(look(place, source_cluster, name, **owner), "connections")["message"]
        limited = ConnectionSettings(name, source_cluster.host, source_cluster.port, seed.OWNER, password)
        execute(source_cluster, f'ALTER DATABASE "{name}" CONNECTION LIMIT 2')
        for number in (2, 3):
            with ExitStack() as stack:
                for _number in range(number):
                    stack.enter_context(Session(limited))
                with pytest.raises(MigrationError) as caught:
                    Session(limited)
                # The limit of the database, then that of the role.
                statement = caught.value.message.split("as a superuser: ")[1]
                assert statement.startswith("ALTER ROLE" if number == 3 else "ALTER DATABASE")
                if number == 2:
                    execute(source_cluster, statement)
        execute(source_cluster, message.split("Run ")[1].split(" there,")[0])
        assert failures(look(place, source_cluster, name, **owner)) == []
    finally:
        execute(source_cluster, f"ALTER ROLE {seed.OWNER} CONNECTION LIMIT -1")
