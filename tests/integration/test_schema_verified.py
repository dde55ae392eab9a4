# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification of the schema: no false alarm for what two servers print in other words, and no alteration unseen."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator

import psycopg2
import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.archive.scratch import scratch_name
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.host import programs
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.schema.expected import expected_schema
from ansible_collections.cht.couch2pg.plugins.module_utils.schema.restore import Changes
from ansible_collections.cht.couch2pg.plugins.module_utils.verify.schema import compare_schema
from support import seed
from support.by_phases import Phases
from support.clusters import Cluster
from support.migration import column, execute

CASES = seed.SQL / "cases"
# A role that only the source has, so that the restore creates it.
CLERK = "verified_clerk"


def make_source(cluster: Cluster, database: str, *files: Path) -> None:
    """A database with a table of couch2pg's and what is in ``files``."""
    for role in (seed.OWNER, seed.READER, "Odd Reader"):
        seed.create_role(cluster, role)
    seed.create_database(cluster, database)
    execute(cluster, "CREATE TABLE couchdb (doc jsonb); CREATE SCHEMA dashboards", database)
    for path in files:
        execute(cluster, path.read_text(encoding="utf-8"), database)
    # An index that could not be built, as a person leaves it behind.
    # pg_dump leaves out what somebody created in the server's own schemas.
    execute(cluster, "CREATE FUNCTION pg_catalog.left_behind() RETURNS int LANGUAGE sql AS 'SELECT 1'", database)
    execute(cluster, "CREATE TABLE twice AS SELECT 1 AS id FROM generate_series(1, 2)", database)
    with pytest.raises(psycopg2.Error):
        execute(cluster, "CREATE UNIQUE INDEX CONCURRENTLY twice_id ON twice (id)", database)


def named(result: dict[str, Any], kind: str) -> list[str]:
    return [row["object"] for row in result["information"] if row["kind"] == kind]


def scratch_left(cluster: Cluster) -> list[str]:
    return column(cluster, "SELECT datname FROM pg_database WHERE datname ~ 'scratch'")


@pytest.fixture(scope="module")
def restored(
    source_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Phases]:
    """From 16 to 18, with everything that the cases and the rarities hold; restored and refreshed.

    Cases printed-expressions, inherited-column-added-later, key-to-partitioned-table and triggers-on-partitions.
    """
    database = "verified things"
    cases = [
        CASES / f"{name}.sql" for name in ("printed-expressions", "inherited-column-added-later", "partitions", "kinds")
    ]
    make_source(source_cluster, database, *cases, *(seed.SQL / f"{name}.sql" for name in ("rarities", "rarities-16")))
    for statement in (
        f"CREATE ROLE {CLERK}; GRANT {seed.READER} TO {CLERK} WITH SET FALSE",
        f"GRANT {seed.OWNER} TO {CLERK} WITH ADMIN TRUE, INHERIT FALSE",
        f'GRANT TEMPORARY ON DATABASE "{database}" TO {CLERK}',
        f"ALTER DATABASE \"{database}\" SET work_mem = '5MB'",
        f"ALTER ROLE {seed.READER} IN DATABASE \"{database}\" SET work_mem = '6MB'",
        f"COMMENT ON DATABASE \"{database}\" IS 'counts'",
    ):
        execute(source_cluster, statement)
    for role in (seed.OWNER, seed.READER, "Odd Reader"):
        seed.create_role(target_cluster, role)
    phases = Phases(source_cluster, target_cluster, client_dir, tmp_path_factory.mktemp("verified"), database)
    phases.run("dump", "transfer", "restore", "refresh")
    yield phases
    # What would keep an altered database.
    with suppress(psycopg2.Error):
        execute(target_cluster, f'ALTER DATABASE "{phases.incoming}" IS_TEMPLATE false')
    with suppress(psycopg2.Error):
        execute(target_cluster, "DROP SUBSCRIPTION more", phases.incoming)
    seed.drop_database(target_cluster, phases.incoming)
    seed.drop_database(source_cluster, database)
    for cluster in (source_cluster, target_cluster):
        with suppress(psycopg2.Error):
            execute(cluster, f"DROP ROLE {CLERK}")


ANOTHER_OWNER = """
DO $$ BEGIN EXECUTE format('ALTER LARGE OBJECT %s OWNER TO superset', (SELECT min(oid) FROM pg_largeobject_metadata)); END $$
"""
COMMENTED = """
DO $$ BEGIN EXECUTE format('COMMENT ON LARGE OBJECT %s IS ''a large comment''', (SELECT max(oid) FROM pg_largeobject_metadata)); END $$
"""
REVOKED = """
DO $$ BEGIN EXECUTE format('REVOKE ALL ON LARGE OBJECT %s FROM superset', (SELECT max(oid) FROM pg_largeobject_metadata)); END $$
"""
# A statement on the restored database; the difference that it makes; a part of the text that only one side has.
# (The source's text comes first in a difference, so the part may be on either side.)
ALTERATIONS = (
    ("DROP INDEX printed.stock_words", "index printed.stock_words is missing on the target", "amount"),
    ("CREATE INDEX one_more ON printed.stock (id)", "index printed.one_more is on the target only", "one_more"),
    ("ALTER TABLE printed.stock ALTER level DROP DEFAULT", "table printed.stock differs", "DEFAULT"),
    ("ALTER DOMAIN printed.answer DROP CONSTRAINT answer_check", "domain printed.answer differs", "CHECK"),
    ("ALTER TABLE printed.stock DISABLE TRIGGER sometimes", "trigger printed.stock sometimes differs", "ENABLE ALWAYS"),
    ("ALTER POLICY listed ON printed.stock USING (true)", "policy printed.stock listed differs", "USING (true)"),
    (
        "CREATE OR REPLACE RULE never AS ON DELETE TO printed.stock DO INSTEAD NOTHING",
        "rule printed.stock never differs",
        "WHERE",
    ),
    (
        "CREATE OR REPLACE VIEW printed.levels AS SELECT s.id, true AS fine FROM printed.stock AS s",
        "view printed.levels differs",
        "true AS fine",
    ),
    ("ALTER FUNCTION printed.level(varchar, boolean) COST 8", "function printed.level(", "COST 8"),
    ("ALTER FUNCTION kinds.costly(integer[]) SECURITY DEFINER", "function kinds.costly(", "SECURITY DEFINER"),
    ("ALTER TABLE inherited.child NO INHERIT inherited.parent", "table inherited.child differs", "INHERITS"),
    ("ALTER TABLE parted.months DETACH PARTITION parted.month_1", "table attach parted.month_1 is missing", "ATTACH"),
    (
        "ALTER TABLE parted.stay DROP CONSTRAINT stay_id_fkey",
        "fk constraint parted.stay stay_id_fkey is missing",
        "CASCADE",
    ),
    ("ALTER TABLE parted.visit OWNER TO superset", "table parted.visit differs", "OWNER TO superset"),
    ("ALTER TABLE kinds.stored ALTER big SET STORAGE EXTENDED", "table kinds.stored differs", "SET STORAGE EXTERNAL"),
    ("ALTER TABLE kinds.stored ALTER big SET COMPRESSION default", "table kinds.stored differs", "COMPRESSION"),
    ("ALTER TABLE kinds.stored ALTER few SET STATISTICS 322", "table kinds.stored differs", "SET STATISTICS 322"),
    ("ALTER TABLE kinds.stored RESET (fillfactor)", "table kinds.stored differs", "fillfactor='70'"),
    ("ALTER TABLE kinds.stored ALTER listed DROP EXPRESSION", "table kinds.stored differs", "GENERATED ALWAYS"),
    ("ALTER TABLE kinds.stored VALIDATE CONSTRAINT later", "check constraint kinds.stored later", "NOT VALID"),
    ("ALTER SEQUENCE kinds.numbers OWNED BY NONE", "sequence owned by kinds.numbers is missing on the target", "few"),
    ("ALTER SEQUENCE kinds.numbers NO CYCLE", "sequence kinds.numbers differs", "CYCLE"),
    (
        "ALTER TEXT SEARCH CONFIGURATION kinds.words DROP MAPPING FOR word",
        "text search configuration kinds.words differs",
        "FOR word",
    ),
    ("ALTER TYPE kinds.mood RENAME VALUE 'sad' TO 'low'", "type kinds.mood differs", "'low'"),
    ("ALTER STATISTICS kinds.together SET STATISTICS 56", "statistics kinds.together differs", "56"),
    ("ALTER TABLE kinds.stored_too SET ACCESS METHOD heap", "table kinds.stored_too differs", "heap_too"),
    ("COMMENT ON COLUMN kinds.stored.few IS 'many'", "comment COLUMN stored.few in kinds differs", "many"),
    ("DROP CAST (kinds.mood AS integer)", "cast CAST (kinds.mood AS integer) is missing on the target", "ASSIGNMENT"),
    ("DROP TRANSFORM FOR integer LANGUAGE sql", "transform TRANSFORM FOR integer LANGUAGE sql is missing", "TRANSFORM"),
    # Grants: on tables with their options, columns, schemas, languages, the server's own objects, members of extensions.
    (
        "REVOKE GRANT OPTION FOR SELECT ON kinds.stored FROM superset",
        "grants TABLE stored in kinds differs",
        "GRANT OPTION",
    ),
    ('REVOKE UPDATE (area) ON rare.secrets FROM "Odd Reader"', "grants COLUMN secrets.area in rare", "UPDATE(area)"),
    ("GRANT ALL ON SCHEMA public TO superset", "grants SCHEMA public", "superset"),
    ("REVOKE USAGE ON LANGUAGE plpgsql FROM superset", "grants LANGUAGE plpgsql", "superset"),
    (
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text) FROM superset",
        "grants FUNCTION pg_stat_file(",
        "superset",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION pg_catalog.plpgsql_call_handler() FROM superset",
        "grants FUNCTION plpgsql_call_handler()",
        "superset",
    ),
    (
        "ALTER DEFAULT PRIVILEGES FOR ROLE superset REVOKE GRANT OPTION FOR SELECT ON TABLES FROM couch2pg",
        "default privileges DEFAULT PRIVILEGES FOR TABLES",
        "GRANT OPTION",
    ),
    # Objects beside tables.
    ("ALTER PUBLICATION changes SET (publish = 'insert')", "publication changes differs", "'insert')"),
    (
        "ALTER PUBLICATION filtered SET TABLE rare.counted (id) WHERE (id > 6)",
        "publication table rare.filtered counted",
        "6",
    ),
    ("DROP EVENT TRIGGER watch_ddl", "event trigger watch_ddl is missing on the target", "watch_ddl"),
    ("ALTER FOREIGN TABLE rare.far OPTIONS (SET table_name 'other')", "foreign table rare.far differs", ""),
    ("ALTER USER MAPPING FOR couch2pg SERVER \"the ministry\" OPTIONS (SET password 'x')", "user mapping", ""),
    ("ALTER TABLE rare.cache SET LOGGED", "table rare.cache differs", "UNLOGGED"),
    (
        ANOTHER_OWNER,
        "large object",
        "superset",
    ),
    # The database itself, and a role that the restore created.
    ("ALTER DATABASE {database} OWNER TO superset", "database owner differs", "superset"),
    ("ALTER DATABASE {database} SET work_mem = '7MB'", "database settings differs", "7MB"),
    ("ALTER ROLE superset IN DATABASE {database} RESET work_mem", "database settings of role superset differs", "6MB"),
    ("ALTER DATABASE {database} CONNECTION LIMIT 9", "database connection limit differs", "9"),
    ("COMMENT ON DATABASE {database} IS 'other'", "database comment differs", "other"),
    (f"REVOKE TEMPORARY ON DATABASE {{database}} FROM {CLERK}", "database grants differs", CLERK),
    ("ALTER DATABASE {database} IS_TEMPLATE true", "database is template differs", "True"),
    ("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC", "database grants differs", "PUBLIC CONNECT"),
    (
        f"GRANT couch2pg TO {CLERK} WITH INHERIT TRUE",
        f"role {CLERK} is a member of couch2pg with other options",
        "INHERIT TRUE",
    ),
    (f"REVOKE superset FROM {CLERK}", f"role {CLERK} is not a member of superset", ""),
    (f"ALTER ROLE {CLERK} CREATEDB", f"role {CLERK} is not on the source: CREATEDB", ""),
    (f"ALTER ROLE {CLERK} SET search_path = here", f"role {CLERK} is not on the source: search_path=here", ""),
    (f"GRANT postgres TO {CLERK}", f"role {CLERK} is not on the source: member of postgres", ""),
    (f"REVOKE ADMIN OPTION FOR couch2pg FROM {CLERK}", f"role {CLERK} may not grant couch2pg", ""),
    # More of the same kinds.
    ("COMMENT ON TYPE kinds.mood IS 'm'", "comment TYPE mood in kinds is on the target only", "'m'"),
    ("COMMENT ON SCHEMA public IS 'other'", "comment SCHEMA public", "other"),
    (COMMENTED, "large object", "a large comment"),
    (REVOKED, "large object", "superset SELECT"),
    ("ALTER TABLE kinds.stored REPLICA IDENTITY DEFAULT", "table kinds.stored differs", "REPLICA IDENTITY FULL"),
    ("ALTER TABLE kinds.stored SET WITHOUT CLUSTER", "constraint kinds.stored stored_pkey differs", "CLUSTER ON"),
    ("ALTER PROCEDURE rare.tidy() SECURITY DEFINER", "procedure rare.tidy() differs", "SECURITY DEFINER"),
    ("ALTER FUNCTION rare.newest(text) VOLATILE", "function rare.newest(text) differs", "STABLE"),
    (
        "ALTER AGGREGATE kinds.largest(integer) OWNER TO superset",
        "aggregate kinds.largest(integer) differs",
        "superset",
    ),
    (
        "ALTER OPERATOR kinds.<< (kinds.mood, kinds.mood) SET (RESTRICT = scalarltsel)",
        "operator kinds.<< differs",
        "scalarltsel",
    ),
    ("ALTER OPERATOR FAMILY kinds.moods USING hash OWNER TO superset", "operator family kinds.moods", "superset"),
    ("ALTER CONVERSION kinds.latin OWNER TO superset", "conversion kinds.latin differs", "superset"),
    ("ALTER COLLATION kinds.plain OWNER TO superset", "collation kinds.plain differs", "superset"),
    ("ALTER TEXT SEARCH DICTIONARY kinds.stems (ACCEPT = true)", "text search dictionary kinds.stems", "true"),
    ("ALTER FOREIGN DATA WRAPPER elsewhere OPTIONS (SET debug 'false')", "foreign data wrapper elsewhere", ""),
    ("ALTER SERVER \"the ministry\" OPTIONS (SET host 'seen-nowhere-else')", "server the ministry differs", ""),
    ("ALTER TABLE rare.secrets NO FORCE ROW LEVEL SECURITY", "table rare.secrets differs", "FORCE ROW LEVEL"),
    ("ALTER TABLE rare.secrets DISABLE ROW LEVEL SECURITY", "row security rare.secrets is missing", "ENABLE ROW"),
    ("ALTER POLICY writers ON rare.secrets TO superset", "policy rare.secrets writers differs", "superset"),
    (
        "ALTER TABLE rare.counted ALTER id SET GENERATED BY DEFAULT",
        "sequence rare.counted_id_seq differs",
        "BY DEFAULT",
    ),
    ("ALTER SEQUENCE rare.counted_id_seq AS integer", "sequence rare.counted_id_seq differs", ""),
    ("ALTER VIEW kinds.careful ALTER word DROP DEFAULT", "default kinds.careful word is missing", "'x'"),
    ("ALTER VIEW kinds.careful SET (security_barrier = false)", "view kinds.careful differs", "'false'"),
    ("ALTER MATERIALIZED VIEW kinds.kept OWNER TO superset", "materialized view kinds.kept differs", "superset"),
    (
        "ALTER INDEX kinds.kept_words RENAME TO other_words",
        "index kinds.other_words is on the target only",
        "other_words",
    ),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'kinds.stored_words'::regclass",
        "index kinds.stored_words is missing on the target",
        "",
    ),
    ("ALTER TYPE rare.pair ADD ATTRIBUTE third int CASCADE", "type rare.pair differs", "third"),
    ("ALTER SCHEMA kinds OWNER TO superset", "schema kinds differs", "superset"),
    ("CREATE SCHEMA one_more", "schema one_more is on the target only", "one_more"),
    ("CREATE TYPE kinds.added AS ENUM ()", "type kinds.added is on the target only", "added"),
    (
        "ALTER PUBLICATION whole_schema ADD TABLES IN SCHEMA kinds",
        "publication tables in schema kinds.whole_schema",
        "",
    ),
    (
        "ALTER DEFAULT PRIVILEGES FOR ROLE couch2pg GRANT SELECT ON TABLES TO PUBLIC",
        "default privileges DEFAULT PRIVILEGES FOR TABLES",
        "PUBLIC",
    ),
    ("ALTER TABLE parted.months ALTER note SET DEFAULT 'd'", "table parted.months differs", "DEFAULT 'd'"),
    (
        "ALTER TRIGGER noted ON parted.months RENAME TO named",
        "trigger parted.months named is on the target only",
        "named",
    ),
    ("ALTER TABLE rare.hashed RENAME COLUMN label TO name", "index rare.hashed_label differs", "name"),
    # What pg_dump doesn't print.
    (
        "ALTER FUNCTION pg_catalog.lower(text) COST 17",
        "object of the server function pg_catalog.lower(text) differs",
        "17",
    ),
    (
        "CREATE FUNCTION pg_catalog.added() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "object of the server function pg_catalog.added() is on the target only",
        "",
    ),
    (
        "ALTER FUNCTION pg_catalog.plpgsql_inline_handler(internal) OWNER TO superset",
        "member of extension plpgsql function pg_catalog.plpgsql_inline_handler(internal) differs",
        "superset",
    ),
    (
        "CREATE OR REPLACE VIEW pg_catalog.pg_group AS SELECT rolname AS groname, oid AS grosysid, '{}'::oid[] AS grolist FROM pg_authid",
        "object of the server relation pg_catalog.pg_group differs",
        "'{}'",
    ),
    ("UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'plpgsql'", "extension plpgsql differs", "0.9"),
    (
        "CREATE SUBSCRIPTION more CONNECTION 'password=seen-nowhere-else' PUBLICATION p WITH (connect = false, slot_name = NONE)",
        "subscription more is on the target only",
        "",
    ),
)
# Statements that change rows, large objects, sequences or materialized views, and what is named then.
ALTERED_ROWS = (
    ('UPDATE rare.areas SET doc = doc || \'{"name": "area 1 "}\' WHERE id = 1', "rare.areas"),
    (
        "UPDATE parted.facility SET name = 'b' WHERE id = 1; UPDATE parted.facility SET name = 'a' WHERE id = 12",
        "parted.facility_2b",
    ),
    ("WITH gone AS (DELETE FROM rare.child RETURNING a) INSERT INTO rare.parent SELECT a FROM gone", "rare.parent"),
    ("DELETE FROM rare.visits_2024 WHERE ctid = (SELECT min(ctid) FROM rare.visits_2024)", "rare.visits_2024"),
    ("TRUNCATE rare.cache", "rare.cache"),
    ("SELECT setval('kinds.numbers', -5)", "kinds.numbers"),
    ("SELECT lo_put(min(oid), 0, '\\x11') FROM pg_largeobject_metadata", "the content"),
    ("REFRESH MATERIALIZED VIEW kinds.kept WITH NO DATA", "kinds.kept"),
)


def test_what_two_servers_print_in_other_words_is_the_same(restored: Phases) -> None:
    # A verification that was killed has left its scratch database, before it could say whose it is.
    execute(restored.target, f"CREATE DATABASE {scratch_name(restored.name)}")
    result = restored.run("verify")
    assert result["accepted"] == []
    assert named(result, "index") == ["public.twice_id"]
    assert named(result, "function") == ["pg_catalog.left_behind()"]
    # The operator << declares its commutator on the target, too.
    assert named(result, "operator") == []
    assert scratch_left(restored.target) == []


def test_a_cancelled_verification_stops_its_scratch_restore(restored: Phases, tmp_path: Path) -> None:
    target = restored.target
    settings = ConnectionSettings(restored.incoming, target.host, target.port, password=target.password)
    evidence = json.loads((restored.archive / "evidence.json").read_text(encoding="utf-8"))
    both = (programs.find("pg_restore", str(restored.bin_dir)), programs.find("pg_dump", str(restored.bin_dir)))
    stop = threading.Event()
    stop.set()
    with pytest.raises(MigrationError, match="pg_restore was stopped"):
        expected_schema(settings, restored.name, restored.archive, evidence, Changes(), both, tmp_path, stop)
    assert scratch_left(target) == []


def alter(phases: Phases, statement: str) -> None:
    connection = phases.target.connect(phases.incoming, options="-c allow_system_table_mods=on")
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                statement.format(database=f'"{phases.incoming}"') if "{database}" in statement else statement
            )
    finally:
        connection.close()


def all_differences(phases: Phases, work: Path) -> list[dict[str, Any]]:
    """Those of everything but rows: the job's message and details have only the first ones."""
    target = phases.target
    settings = ConnectionSettings(phases.incoming, target.host, target.port, password=target.password)
    evidence = json.loads((phases.archive / "evidence.json").read_text(encoding="utf-8"))
    restored = phases.record["phases"]["restore"]["result"]
    both = (programs.find("pg_restore", str(phases.bin_dir)), programs.find("pg_dump", str(phases.bin_dir)))
    stop = threading.Event()
    return compare_schema(settings, phases.name, phases.archive, evidence, restored, both, work, stop, True).differences


def test_every_alteration_is_found(restored: Phases, tmp_path: Path) -> None:
    """All at once: each makes a difference of its own, or a line of its own in one."""
    assert all_differences(restored, tmp_path) == []
    for statement, *_expected in ALTERATIONS[:5]:
        alter(restored, statement)
    failed = restored.attempt("verify")
    # The way out: exactly these, and never rows.
    names = [found["name"] for found in failed["details"]["differences"]]
    assert len(names) == 5
    assert json.dumps(names, ensure_ascii=False) in failed["msg"]
    restored.options["verify"] = {"recount": True, "accept_differences": names}
    assert [found["name"] for found in restored.run("verify")["accepted"]] == names
    for statement, *_expected in ALTERATIONS[5:]:
        alter(restored, statement)
    differences = all_differences(restored, tmp_path)
    unseen = [
        alteration for alteration in ALTERATIONS if not any(tells(found, *alteration[1:]) for found in differences)
    ]
    assert not unseen, (unseen, [found["name"] for found in differences])
    assert "seen-nowhere-else" not in str(differences)
    assert scratch_left(restored.target) == []
    restored.options["verify"]["accept_differences"] = [found["name"] for found in differences]
    for statement, _name in ALTERED_ROWS:
        alter(restored, statement)
    failed = restored.attempt("verify")
    found = {difference["object"] for difference in failed["details"]["differences"]}
    assert found >= {name for _statement, name in ALTERED_ROWS}
    assert "couch2pg_accept_differences" not in failed["msg"]


def tells(found: dict[str, Any], name: str, part: str) -> bool:
    """Whether a difference has this name, and the part in one of its texts only (a short part may be in both)."""
    sides = [part in str(found[side]) for side in ("source", "target")]
    return found.get("name", "").startswith(name) and (part == "" or sides[0] != sides[1])


@pytest.mark.long
def test_triggers_and_keys_of_partitions_before_15(
    thirteen_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path, database_name: str
) -> None:
    """Cases triggers-on-partitions and key-to-partitioned-table: newer servers name the inner ones otherwise."""
    make_source(thirteen_cluster, database_name, CASES / "partitions.sql")
    for role in (seed.OWNER, seed.READER):
        seed.create_role(target_cluster, role)
    phases = Phases(thirteen_cluster, target_cluster, client_dir, tmp_path, database_name)
    try:
        assert phases.run("dump", "transfer", "restore", "refresh", "verify")["accepted"] == []
    finally:
        seed.drop_database(target_cluster, phases.incoming)
        seed.drop_database(thirteen_cluster, database_name)


@pytest.mark.long
def test_the_oldest_version_in_the_tar_of_the_manual_guide(
    old_cluster: Cluster, target_cluster: Cluster, client_dir: Path, tmp_path: Path, database_name: str
) -> None:
    cases = [CASES / f"{name}.sql" for name in ("printed-expressions", "inherited-column-added-later")]
    make_source(old_cluster, database_name, *cases, seed.SQL / "rarities.sql")
    phases = Phases(
        old_cluster, target_cluster, client_dir, tmp_path, database_name, options={"dump": {"format": "tar"}}
    )
    try:
        result = phases.run("dump", "transfer", "restore", "refresh", "verify")
        assert (phases.archive / "archive.tar.gz").is_file()
        assert named(result, "index") == ["public.twice_id"]
        assert scratch_left(target_cluster) == []
    finally:
        seed.drop_database(target_cluster, phases.incoming)
        seed.drop_database(old_cluster, database_name)
