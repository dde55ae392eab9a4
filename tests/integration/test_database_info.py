# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a real couch2pg database, as its superuser and as an ordinary role see it."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
from support import seed
from support.clusters import Cluster
from support.modules import login, run_module

DATABASE = "facts"


@pytest.fixture(scope="module")
def seeded(source_cluster: Cluster) -> Iterator[Cluster]:
    seed.seed(source_cluster, DATABASE, documents=seed.MINIMUM)
    yield source_cluster
    seed.drop_database(source_cluster, DATABASE)


@pytest.fixture(scope="module")
def facts(seeded: Cluster) -> dict[str, Any]:
    return run_module("database_info", login(seeded, DATABASE))


def test_the_server_and_its_databases(facts: dict[str, Any], seeded: Cluster) -> None:
    assert facts["changed"] is False
    assert facts["server"]["major"] == 16
    assert facts["server"]["superuser"] is True
    assert facts["server"]["settings"]["port"] == str(seeded.port)
    sizes = {row["name"]: row["bytes"] for row in facts["databases"]}
    assert sizes[DATABASE] == facts["database"]["bytes"] > sizes["template0"] > 0
    assert facts["database"]["owner"] == seed.OWNER
    assert facts["database"]["encoding"] == "UTF8"
    assert "work_mem=16MB" in facts["database"]["settings"]
    assert f"{seed.READER} CONNECT" in facts["database"]["grants"]


def test_sizes_of_tables_indexes_toast_and_matviews(facts: dict[str, Any]) -> None:
    relations = {f"{row['schema']}.{row['name']}": row for row in facts["relations"]}
    couchdb = relations["public.couchdb"]
    assert couchdb["kind"] == "table"
    # Three documents of 3 MB that hardly compress.
    assert couchdb["toast_bytes"] > 3_000_000
    parts = couchdb["heap_bytes"] + couchdb["toast_bytes"] + couchdb["index_bytes"]
    # The rest are the maps of free space and visibility.
    assert parts <= couchdb["total_bytes"] <= parts + 10 * 8192
    assert relations["public.contactview_metadata"]["kind"] == "matview"
    assert relations["public.raw_contacts"]["kind"] == "view"
    assert relations["dashboards.alerts"]["heap_bytes"] == 0
    assert 'dashboards.Odd "Name"' in relations
    assert facts["totals"]["toast_bytes"] >= couchdb["toast_bytes"]
    assert facts["totals"]["matview_bytes"] > 0


def test_indexes(facts: dict[str, Any]) -> None:
    indexes = {row["name"]: row for row in facts["indexes"]}
    assert indexes["couchdb_doc_uuid"]["unique"] is True
    assert indexes["couchdb_doc_type"]["unique"] is False
    assert indexes["targets_pkey"]["primary"] is True
    assert indexes["Odd index; --"]["relation"] == 'dashboards.Odd "Name"'


def test_matviews_come_in_the_order_of_their_dependencies(facts: dict[str, Any]) -> None:
    matviews = {row["matview"]: row for row in facts["matviews"]}
    names = list(matviews)
    assert len(names) == 9
    for earlier, later in (
        ("public.contactview_metadata", "public.dashboard_visits"),
        ("public.dashboard_visits", "public.dashboard_areas"),
        ("public.dashboard_areas", "public.dashboard_ranking"),
    ):
        assert names.index(earlier) < names.index(later)
        assert matviews[earlier]["level"] < matviews[later]["level"]
    ranking = matviews["public.dashboard_ranking"]
    # Everything below it, and tables too.
    assert set(ranking["depends_on"]) == {
        "public.contactview_metadata",
        "public.dashboard_areas",
        "public.dashboard_visits",
        "public.form_metadata",
    }
    assert "public.couchdb" in ranking["reads"]
    assert ranking["populated"] is True
    assert ranking["has_unique_index"] is True


def test_a_matview_reads_others_through_plain_views(fresh_database: Any, source_cluster: Cluster) -> None:
    name = fresh_database(source_cluster)
    with source_cluster.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW z_first AS SELECT * FROM t;"
            "CREATE VIEW between AS SELECT * FROM z_first; CREATE VIEW between_2 AS SELECT * FROM between;"
            "CREATE MATERIALIZED VIEW a_second AS SELECT * FROM between_2 WITH NO DATA"
        )
    connection.close()
    first, second = run_module("database_info", login(source_cluster, name))["matviews"]
    assert (first["matview"], first["level"], first["populated"]) == ("public.z_first", 0, True)
    assert (second["matview"], second["level"], second["populated"]) == ("public.a_second", 1, False)
    assert second["depends_on"] == ["public.z_first"]
    assert second["reads"] == ["public.between", "public.between_2", "public.t", "public.z_first"]
    assert second["has_unique_index"] is False


def test_owners_grants_roles_and_extensions(facts: dict[str, Any]) -> None:
    owned = {(row["kind"], row["name"]): row for row in facts["owners_and_grants"]}
    assert owned["tables", "public.couchdb"]["owner"] == seed.OWNER
    assert f"{seed.READER} SELECT" in owned["tables", "public.couchdb"]["grants"]
    assert {role["name"] for role in facts["roles"]} >= {seed.OWNER, seed.READER}
    assert [row["name"] for row in facts["extensions"]["installed"]] == ["plpgsql"]
    assert "plpgsql" in facts["extensions"]["available"]


def test_an_ordinary_role_sees_what_it_may(seeded: Cluster) -> None:
    password = seed.create_role(seeded, "facts_guest")
    with seeded.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"GRANT CONNECT ON DATABASE {DATABASE} TO facts_guest")
    connection.close()
    found = run_module("database_info", login(seeded, DATABASE, "facts_guest", password))
    assert "failed" not in found
    assert found["server"]["superuser"] is False
    assert "data_directory" not in found["server"]["settings"]
    assert len(found["matviews"]) == 9


def test_the_oldest_supported_server(fresh_database: Any, old_cluster: Cluster) -> None:
    name = fresh_database(old_cluster)
    found = run_module("database_info", login(old_cluster, name), check=True)
    assert found["server"]["major"] == 10
    assert found["totals"]["tables"] == 0


def test_an_unknown_database_is_one_clear_sentence(source_cluster: Cluster) -> None:
    found = run_module("database_info", login(source_cluster, "nowhere"))
    assert found["code"] == "database_missing"
    assert found["msg"] == f"There is no database 'nowhere' at 127.0.0.1:{source_cluster.port}: check the name."
