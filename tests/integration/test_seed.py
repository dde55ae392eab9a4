# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The invented database is as couch2pg would leave it, on the oldest and on the newest server, and the same on both."""

from __future__ import annotations

from typing import Any, Iterator

import psycopg2
import pytest
from support import seed
from support.cases import rarely
from support.clusters import Cluster
from support.writer import BackgroundWriter, Writer

DOCUMENTS = 1000
CONTENTS = (
    "SELECT md5(string_agg(md5(doc::text), '' ORDER BY md5(doc::text))) FROM (SELECT doc FROM couchdb"
    " UNION ALL SELECT doc FROM couchdb_users_meta UNION ALL SELECT doc FROM couchdb_medic_logs) AS all_documents"
)


@pytest.fixture
def seeded(database_name: str, request: pytest.FixtureRequest) -> Iterator[tuple[Cluster, str]]:
    cluster: Cluster = request.getfixturevalue(request.param)
    seed.seed(cluster, database_name, documents=DOCUMENTS, huge=False)
    yield cluster, database_name
    seed.drop_database(cluster, database_name)


def value(cluster: Cluster, database: str, query: str, user: str = seed.OWNER) -> Any:
    connection = cluster.connect(database, user)
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        row = cursor.fetchone()
        assert row is not None
        return row[0]
    finally:
        connection.close()


@pytest.mark.parametrize("seeded", ["old_cluster", "target_cluster"], indirect=True)
def test_is_as_couch2pg_leaves_it(seeded: tuple[Cluster, str]) -> None:
    assert value(*seeded, "SELECT count(*) FROM couchdb") == DOCUMENTS
    assert value(*seeded, "SELECT count(*) FROM pg_matviews WHERE matviewowner = 'couch2pg' AND ispopulated") == 9
    assert value(*seeded, "SELECT count(*) FROM dashboard_ranking") > 0
    assert value(*seeded, "SELECT count(*) FROM dashboards.alerts") == 0
    # What couch2pg itself does at the end of a run, as its own role.
    assert value(*seeded, "SELECT refresh_matviews()") == 1
    assert value(*seeded, "SELECT count(*) FROM couchdb", seed.READER) == DOCUMENTS


def test_contents_are_the_same_on_every_version(
    old_cluster: Cluster, target_cluster: Cluster, database_name: str
) -> None:
    contents = []
    for cluster in (old_cluster, target_cluster):
        seed.seed(cluster, database_name, documents=DOCUMENTS, huge=False)
        contents.append(value(cluster, database_name, CONTENTS))
        seed.drop_database(cluster, database_name)
    assert contents[0] == contents[1]


def test_unsafe_function_fails_where_the_search_path_is_empty(source_cluster: Cluster, database_name: str) -> None:
    seed.seed(source_cluster, database_name, documents=DOCUMENTS, huge=False, unsafe_function=True)
    connection = source_cluster.connect(database_name, seed.OWNER)
    cursor = connection.cursor()
    cursor.execute("REFRESH MATERIALIZED VIEW dashboard_areas")
    cursor.execute("SET search_path = ''")
    with pytest.raises(psycopg2.errors.UndefinedTable, match="couchdb"):
        cursor.execute("REFRESH MATERIALIZED VIEW public.dashboard_areas")
    connection.close()
    seed.drop_database(source_cluster, database_name)


@pytest.mark.parametrize("seeded", [rarely("old_cluster"), "source_cluster"], indirect=True)
def test_writer_changes_adds_and_stores_its_place(seeded: tuple[Cluster, str]) -> None:
    cluster, database = seeded
    before = value(cluster, database, CONTENTS)
    writer = Writer(lambda: cluster.connect(database, seed.OWNER), pause=0)
    with BackgroundWriter(writer, seconds=60) as background:
        background.wait_for(batches=5)
    written = background.written
    assert value(cluster, database, CONTENTS) != before
    assert written.batches >= 5
    # One of those that are added in each batch goes to another table.
    assert value(cluster, database, "SELECT count(*) FROM couchdb") == DOCUMENTS + written.added - written.batches
    assert value(cluster, database, "SELECT seq FROM couchdb_progress WHERE source LIKE '%/medic'") == written.seq
