# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts and digests by the module, inside one snapshot; no file is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest
from support import seed
from support.clusters import Cluster
from support.modules import login, run_module

DATABASE = "digests"


@pytest.fixture(scope="module")
def seeded(source_cluster: Cluster) -> Iterator[Cluster]:
    seed.seed(source_cluster, DATABASE, documents=seed.MINIMUM, huge=False)
    yield source_cluster
    seed.drop_database(source_cluster, DATABASE)


@pytest.fixture
def options(seeded: Cluster) -> dict[str, Any]:
    return login(seeded, DATABASE)


def execute(cluster: Cluster, statement: str) -> None:
    connection = cluster.connect(DATABASE)
    try:
        connection.cursor().execute(statement)
    finally:
        connection.close()


def by_name(found: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return {row["table"]: (row["rows"], row["digest"]) for row in found["tables"]}


def test_every_table_is_counted_and_digested(options: dict[str, Any]) -> None:
    found = run_module("table_info", options)
    tables = by_name(found)
    assert found["changed"] is False
    assert found["digest_method"] == "hash64"
    assert found["meaning"].endswith("exact")
    assert tables["public.couchdb"][0] == seed.MINIMUM
    assert tables["dashboards.alerts"] == (0, "0" * 32)
    assert tables['dashboards.Odd "Name"'][0] == 5
    assert found["rows"] == sum(rows for rows, _digest in tables.values())
    assert list(tables) == sorted(tables)


def test_a_second_call_digests_again(options: dict[str, Any], seeded: Cluster) -> None:
    before = by_name(run_module("table_info", options))
    execute(seeded, "INSERT INTO couchdb_medic_users SELECT doc FROM couchdb_medic_users LIMIT 1")
    try:
        after = run_module("table_info", options)
        changed = {name for name, value in by_name(after).items() if value != before[name]}
        assert changed == {"public.couchdb_medic_users"}
    finally:
        execute(
            seeded,
            "DELETE FROM couchdb_medic_users WHERE ctid IN (SELECT max(ctid::text)::tid FROM couchdb_medic_users)",
        )


def test_chosen_tables_only(options: dict[str, Any]) -> None:
    found = run_module("table_info", {**options, "tables": ["dashboards.alerts"], "digest_method": "md5"})
    assert set(by_name(found)) == {"dashboards.alerts"}
    counted = run_module("table_info", {**options, "tables": ["couchdb"]})
    assert counted["rows"] == seed.MINIMUM
    assert found["digest_method"] == "md5"


def test_the_home_folder_stays_empty(options: dict[str, Any], tmp_path: Path) -> None:
    found = run_module("table_info", options, environment={"HOME": str(tmp_path)})
    assert found["changed"] is False
    assert list(tmp_path.iterdir()) == []
    assert by_name(found) == by_name(run_module("table_info", options, check=True))


def test_the_oldest_server_is_digested_by_md5(old_cluster: Cluster, fresh_database: Any) -> None:
    name = fresh_database(old_cluster)
    connection = old_cluster.connect(name)
    connection.cursor().execute("CREATE TABLE couchdb (doc jsonb); INSERT INTO couchdb VALUES ('{\"a\": 1.0}')")
    connection.close()
    options = login(old_cluster, name)
    found = run_module("table_info", options)
    assert found["digest_method"] == "md5"
    assert found["rows"] == 1
    refused = run_module("table_info", {**options, "digest_method": "hash64"})
    assert refused["code"] == "digest_method"


def test_an_unknown_table_and_an_unreadable_one_are_named(options: dict[str, Any], seeded: Cluster) -> None:
    missing = run_module("table_info", {**options, "tables": ["nope"]})
    assert missing["msg"] == "The database has no table nope. Check the names."
    password = seed.create_role(seeded, seed.READER)
    found = run_module("table_info", {**options, "login_user": seed.READER, "login_password": password})
    assert found["code"] == "not_readable"
    assert "may not read dashboards." in found["msg"]
