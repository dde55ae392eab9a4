# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is changed in a verified database is noticed before its promotion, and upkeep by the server is no change."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres import changes
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support import seed
from support.clusters import Cluster
from support.migration import column, execute

DATABASE = "changing"
ROWS = {
    "a row deleted": "DELETE FROM couchdb WHERE ctid = (SELECT min(ctid) FROM couchdb)",
    "a row doubled": "INSERT INTO couchdb_users_meta SELECT * FROM couchdb_users_meta LIMIT 1",
    "a value changed": "UPDATE couchdb_progress SET seq = seq || ' '",
    "a value set to what it was": "UPDATE couchdb_progress SET seq = seq",
    "all rows deleted": "DELETE FROM couchdb_users_meta",
    "a table emptied": "TRUNCATE couchdb_progress",
    "a row in an empty table": "INSERT INTO empty VALUES (1)",
    "a row in an unlogged table": "INSERT INTO unlogged VALUES (1)",
    "a partition's row": "INSERT INTO parts VALUES (1)",
    "two tables exchanged": "ALTER TABLE twin1 RENAME TO t; ALTER TABLE twin2 RENAME TO twin1; ALTER TABLE t RENAME TO twin2",
    "a large object written": "SELECT lo_put((SELECT min(oid) FROM pg_largeobject_metadata), 0, 'other')",
}
SCHEMA = {
    "an index dropped": "DROP INDEX couchdb_doc_uuid",
    "an index renamed": "ALTER INDEX couchdb_doc_type RENAME TO elsewhere",
    "a table dropped": "DROP TABLE twin1",
    "a table made": "CREATE TABLE stranger (n int)",
    "a column added": "ALTER TABLE empty ADD COLUMN m int",
    "a column dropped": "ALTER TABLE parts DROP COLUMN m",
    "a default": "ALTER TABLE empty ALTER COLUMN n SET DEFAULT 1",
    "a column's type": "ALTER TABLE empty ALTER COLUMN n TYPE bigint",
    "not null": "ALTER TABLE unlogged ALTER COLUMN n SET NOT NULL",
    "a check": "ALTER TABLE empty ADD CONSTRAINT positive CHECK (n > 0)",
    "storage": "ALTER TABLE couchdb ALTER COLUMN doc SET STORAGE EXTERNAL",
    "a statistics target": "ALTER TABLE couchdb ALTER COLUMN doc SET STATISTICS 7",
    "a table's option": "ALTER TABLE couchdb SET (fillfactor = 70)",
    "an owner": "ALTER TABLE couchdb_progress OWNER TO postgres",
    "a grant": "GRANT SELECT ON empty TO PUBLIC",
    "a revoke": "REVOKE SELECT ON couchdb FROM superset",
    "a grant on a column": "GRANT SELECT (n) ON empty TO PUBLIC",
    "a grant on schema public": "GRANT CREATE ON SCHEMA public TO PUBLIC",
    "a grant on a language": "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
    "a grant in pg_catalog": "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO couch2pg",
    "default privileges": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "a view": "CREATE OR REPLACE VIEW seen AS SELECT 2 AS n",
    "a function's setting": "ALTER FUNCTION refresh_matviews() SET work_mem = '5MB'",
    "a function's cost": "ALTER FUNCTION refresh_matviews() COST 7",
    "a trigger": "CREATE TRIGGER t BEFORE UPDATE ON empty EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "a trigger switched off": "ALTER TABLE empty DISABLE TRIGGER t",
    "a rule": "CREATE RULE r AS ON DELETE TO empty DO INSTEAD NOTHING",
    "a policy": "CREATE POLICY p ON empty USING (n > 1)",
    "row security": "ALTER TABLE empty ENABLE ROW LEVEL SECURITY",
    "a comment": "COMMENT ON TABLE empty IS 'new'",
    "a sequence's step": "ALTER SEQUENCE export_number INCREMENT 3",
    "a type": "CREATE TYPE mood AS ENUM ('ok')",
    "an enum's label": "ALTER TYPE mood ADD VALUE 'low'",
    "a domain": "CREATE DOMAIN short AS text CHECK (length(value) < 9)",
    "a schema": "CREATE SCHEMA other",
    "extended statistics": "CREATE STATISTICS s ON n, m FROM empty",
    "a publication": "CREATE PUBLICATION p",
    "an operator": "CREATE OPERATOR public.=== (leftarg = int, rightarg = int, function = int4eq)",
    "a text search mapping": "CREATE TEXT SEARCH CONFIGURATION public.own (COPY = simple)",
    "a materialized view refreshed": "REFRESH MATERIALIZED VIEW counted",
}
OTHERS = {
    "a sequence moved": "SELECT setval('export_number', 999)",
    "a sequence used": "SELECT nextval('export_number')",
    "the database's owner": f"ALTER DATABASE {DATABASE} OWNER TO postgres",
    "the database's setting": f"ALTER DATABASE {DATABASE} SET work_mem = '7MB'",
    "a setting of a role there": f"ALTER ROLE superset IN DATABASE {DATABASE} RESET statement_timeout",
    "the database's comment": f"COMMENT ON DATABASE {DATABASE} IS NULL",
    "a connection limit": f"ALTER DATABASE {DATABASE} CONNECTION LIMIT 9",
    "connect for everybody": f"GRANT CONNECT ON DATABASE {DATABASE} TO PUBLIC",
    "a membership": "GRANT couch2pg TO superset",
    "a role's setting": "ALTER ROLE superset SET work_mem = '9MB'",
}
MORE = """
CREATE TABLE empty (n int); CREATE UNLOGGED TABLE unlogged (n int); CREATE VIEW seen AS SELECT 1 AS n;
CREATE TABLE parts (n int, m int) PARTITION BY RANGE (n); CREATE TABLE part PARTITION OF parts DEFAULT;
CREATE TABLE twin1 AS SELECT 1 AS n; CREATE TABLE twin2 AS SELECT 2 AS n; CREATE MATERIALIZED VIEW counted AS SELECT 1 AS n;
SELECT lo_from_bytea(0, 'content');
"""


@pytest.fixture(scope="module")
def database(target_cluster: Cluster) -> Iterator[ConnectionSettings]:
    seed.seed(target_cluster, DATABASE, documents=seed.MINIMUM, huge=False)
    execute(target_cluster, MORE, DATABASE)
    yield ConnectionSettings(DATABASE, target_cluster.host, target_cluster.port, password=target_cluster.password)
    seed.drop_database(target_cluster, DATABASE)
    execute(target_cluster, "REVOKE couch2pg FROM superset; ALTER ROLE superset RESET ALL")


def state(settings: ConnectionSettings) -> dict[str, Any]:
    with Session(settings) as session:
        return changes.read_state(session)


def test_every_change_is_noticed(target_cluster: Cluster, database: ConnectionSettings) -> None:
    missed, before = [], state(database)
    for kind, cases in (("rows of", ROWS), ("the schema", SCHEMA), ("", OTHERS)):
        for name, harm in cases.items():
            execute(target_cluster, harm, DATABASE)
            now = state(database)
            parts = changes.changed_parts(before, now)
            if not any(part.startswith(kind) for part in parts):
                missed.append((name, parts))
            before = now
    assert not missed
    # Only what was written to is read again.
    execute(target_cluster, ROWS["a row deleted"], DATABASE)
    assert changes.rows_changed(before, state(database)) == {"public.couchdb"}


def test_upkeep_and_reading_are_no_changes(target_cluster: Cluster, database: ConnectionSettings) -> None:
    before = state(database)
    for statement in (
        "ANALYZE",
        "VACUUM",
        "VACUUM (FREEZE, ANALYZE)",
        "CHECKPOINT",
        "TABLE couchdb",
        "REINDEX TABLE couchdb",
    ):
        execute(target_cluster, statement, DATABASE)
        # A new index file is a change of the schema, which is cheap to compare again; rows are not.
        parts = changes.changed_parts(before, state(database))
        assert parts == (["the schema"] if statement.startswith("REINDEX") else []), statement
    before = state(database)
    target_cluster.stop()
    target_cluster.start()
    assert changes.changed_parts(before, state(database)) == []


def test_catalogs_that_are_read_in_parallel(target_cluster: Cluster, database: ConnectionSettings) -> None:
    """As the planner has large ones read: the answers of the parts come in any order."""
    whom = f"ALTER ROLE postgres IN DATABASE {DATABASE}"
    try:
        for name in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
            execute(target_cluster, f"{whom} SET {name} = 0")
        before = state(database)
        assert [changes.changed_parts(before, state(database)) for _number in range(10)] == [[]] * 10
    finally:
        execute(target_cluster, f"{whom} RESET ALL")


@pytest.mark.parametrize("lost", ["crash", "reset", "reset of a table", "switched off"])
def test_where_the_counts_are_lost_all_rows_are_read_again(
    target_cluster: Cluster, database: ConnectionSettings, lost: str
) -> None:
    before = state(database)
    tables = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'parts'"
    every = set(column(target_cluster, tables, DATABASE))
    execute(target_cluster, ROWS["a row in an empty table"], DATABASE)
    try:
        if lost == "crash":
            target_cluster.stop("immediate")
            target_cluster.start()
        elif lost == "switched off":
            execute(target_cluster, f"ALTER DATABASE {DATABASE} SET track_counts = off")
        else:
            reset = "pg_stat_reset()" if lost == "reset" else "pg_stat_reset_single_table_counters('empty'::regclass)"
            execute(target_cluster, f"SELECT {reset}", DATABASE)
        assert every <= changes.rows_changed(before, state(database))
    finally:
        execute(target_cluster, f"ALTER DATABASE {DATABASE} RESET track_counts")
