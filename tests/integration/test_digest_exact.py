# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A digest is the same for the same rows, however they lie on the disk, and another one for anything else."""

from __future__ import annotations

from typing import Callable

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.evidence import digest as digests
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.connection import ConnectionSettings
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.relations import list_tables
from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.session import Session
from support.clusters import Cluster
from support.migration import execute

ROWS = """
CREATE TABLE t (id int, doc jsonb, f float8, b bytea, ts timestamptz, i interval, m money, "odd %s ""name" text);
INSERT INTO t SELECT g, jsonb_build_object('_id', g, 'n', 1.0, 's', 'text '), 1.0 / g, decode(md5(g::text), 'hex'),
    '2020-01-01 12:00+02'::timestamptz + g * interval '1 hour', g * interval '1 day', g::numeric::money, NULLIF(g, 7)::text
FROM generate_series(1, 500) AS g;
"""
METHODS = ("hash64", "hash128", "md5", "semantic")


class Database:
    """A database whose tables are digested."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.settings = ConnectionSettings(name, cluster.host, cluster.port, cluster.superuser, cluster.password)

    def do(self, sql: str) -> None:
        execute(self.cluster, sql, self.name)

    def digest(self, method: str = "hash64", workers: int = 2) -> dict[str, tuple[int, str]]:
        with Session(self.settings) as session:
            tables = list_tables(session).kept
        found = digests.digest_tables(tables, method, workers, lambda: Session(self.settings))
        return {table.table: (table.rows, table.digest) for table in found}


@pytest.fixture
def database(fresh_database: Callable[[Cluster], str], source_cluster: Cluster) -> Database:
    made = Database(source_cluster, fresh_database(source_cluster))
    made.do(ROWS)
    return made


@pytest.mark.parametrize("method", METHODS)
def test_order_layout_and_settings_do_not_matter(database: Database, method: str) -> None:
    before = database.digest(method)
    database.do("CREATE TABLE u AS SELECT * FROM t ORDER BY md5(id::text)")
    database.do("DROP TABLE t; ALTER TABLE u RENAME TO t; UPDATE t SET id = id")
    database.do("VACUUM FULL t")
    for setting in (
        "timezone = 'Africa/Nairobi'",
        "datestyle = 'German'",
        "intervalstyle = 'iso_8601'",
        "bytea_output = 'escape'",
    ):
        database.do(f"ALTER DATABASE {database.name} SET {setting}")
    assert database.digest(method, workers=1) == before


def test_pieces_add_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table read in many pieces has the digest of one read at once."""
    before = database.digest(workers=1)
    monkeypatch.setattr(digests, "CHUNK_BYTES", 8192)
    assert database.digest(workers=3) == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM t WHERE id = 5",
        "INSERT INTO t SELECT * FROM t WHERE id = 5",
        "INSERT INTO t SELECT * FROM t WHERE id = 5; DELETE FROM t WHERE id = 6",
        "UPDATE t SET doc = jsonb_set(doc, '{s}', '\"text\"') WHERE id = 5",
        'UPDATE t SET "odd %s ""name" = \'\' WHERE id = 7',
        "UPDATE t SET f = -0.0 WHERE id = 5; UPDATE t SET f = 0.0 WHERE id = 6",
        "UPDATE t SET b = b || '\\x00' WHERE id = 5",
        "UPDATE t SET id = 6 - id + 5 WHERE id IN (5, 6)",
    ],
)
def test_every_change_is_seen(database: Database, method: str, change: str) -> None:
    before = database.digest(method)["public.t"]
    database.do(change)
    assert database.digest(method)["public.t"] != before


@pytest.mark.parametrize("method", METHODS)
def test_trailing_zeros_of_numbers(database: Database, method: str) -> None:
    """Exact methods see them; the semantic one says that it doesn't."""
    before = database.digest(method)["public.t"]
    database.do("UPDATE t SET doc = jsonb_set(doc, '{n}', '1.00') WHERE id = 5")
    assert (database.digest(method)["public.t"] == before) is (method == "semantic")


def test_wide_empty_and_columnless_tables(database: Database) -> None:
    columns = ", ".join(f"c{number} int" for number in range(1600))
    database.do(f"CREATE TABLE wide ({columns}); INSERT INTO wide (c0, c1599) VALUES (1, 2), (2, 1)")
    database.do("CREATE TABLE columnless (); INSERT INTO columnless DEFAULT VALUES; CREATE TABLE nothing (x int)")
    before = database.digest()
    assert before["public.columnless"][0] == 1
    assert before["public.nothing"][0] == 0
    database.do("UPDATE wide SET c0 = 2, c1599 = 1 WHERE c0 = 1")
    assert database.digest()["public.wide"] != before["public.wide"]


def test_servers_agree(
    database: Database, target_cluster: Cluster, old_cluster: Cluster, fresh_database: Callable[[Cluster], str]
) -> None:
    """From 10 to 18, with what the older one knows."""
    others = [Database(cluster, fresh_database(cluster)) for cluster in (target_cluster, old_cluster)]
    for other in others:
        other.do(ROWS)
    assert database.digest() == others[0].digest()
    assert database.digest("md5") == others[0].digest("md5") == others[1].digest("md5")
