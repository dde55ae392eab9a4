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
    """From 16 to 18, with everything that the cases and the rarities hold; restored and refreshed."""
    database = "verified things"
    cases = [
        CASES / f"{name}.sql" for name in ("printed-expressions", "inherited-column-added-later", "partitions", "kinds")
    ]
    make_source(source_cluster, database, *cases, *(seed.SQL / f"{name}.sql" for name in ("rarities", "rarities-16")))
    for statement in (
        f"CREATE ROLE {CLERK} IN ROLE {seed.READER}",
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
    seed.drop_database(target_cluster, phases.incoming)
    seed.drop_database(source_cluster, database)
    for cluster in (source_cluster, target_cluster):
        with suppress(psycopg2.Error):
            execute(cluster, f"DROP ROLE {CLERK}")


ANOTHER_OWNER = """
DO $$ BEGIN EXECUTE format('ALTER LARGE OBJECT %s OWNER TO superset', (SELECT min(oid) FROM pg_largeobject_metadata)); END $$
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
    (f"REVOKE superset FROM {CLERK}", f"role {CLERK} is not a member of superset", ""),
)


def test_what_two_servers_print_in_other_words_is_the_same(restored: Phases) -> None:
    # A verification that was killed has left its scratch database, before it could say whose it is.
    execute(restored.target, f"CREATE DATABASE {scratch_name(restored.name)}")
    result = restored.run("verify")
    assert result["accepted"] == []
    assert named(result, "index") == ["public.twice_id"]
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


def test_every_alteration_is_found(restored: Phases) -> None:
    """All at once: each makes a difference of its own, or a line of its own in one."""
    for statement, *_expected in ALTERATIONS:
        execute(restored.target, statement.format(database=f'"{restored.incoming}"'), restored.incoming)
    restored.options["verify"] = {"recount": True}
    failed = restored.attempt("verify")
    differences = failed["details"]["differences"]
    unseen = [
        alteration for alteration in ALTERATIONS if not any(tells(found, *alteration[1:]) for found in differences)
    ]
    assert unseen == [], [found["name"] for found in differences]
    # Nothing else is a difference.
    assert len(differences) <= len(ALTERATIONS)
    assert "seen-nowhere-else" not in str(failed)
    assert scratch_left(restored.target) == []
    # The way out: exactly these, and never rows.
    names = [found["name"] for found in differences]
    assert json.dumps(names, ensure_ascii=False) in failed["msg"]
    restored.options["verify"]["accept_differences"] = names
    result = restored.run("verify")
    assert [found["name"] for found in result["accepted"]] == names
    execute(restored.target, "DELETE FROM inherited.grandchild; ALTER TABLE twice ADD more integer", restored.incoming)
    failed = restored.attempt("verify")
    assert [found["object"] for found in failed["details"]["differences"]] == [
        "inherited.grandchild",
        "public.twice",
        "public.twice",
    ]
    assert "couch2pg_accept_differences" not in failed["msg"]


def tells(found: dict[str, Any], name: str, part: str) -> bool:
    """Whether a difference has this name, and the part in one of its texts only (a short part may be in both)."""
    sides = [part in str(found[side]) for side in ("source", "target")]
    return found.get("name", "").startswith(name) and (part == "" or sides[0] != sides[1])


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
