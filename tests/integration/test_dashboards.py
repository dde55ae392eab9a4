# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queries of dashboards on two real servers: every way in which results differ, and no value that gets out."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import jsonschema
import pytest
from ansible_collections.cht.couch2pg.plugins.filter.dashboard_comparison import dashboard_comparison
from support import binaries, driver, places, seed
from support.clusters import Cluster
from support.migration import ROOT, Migration, column, execute
from support.modules import login, run_module

READER = "dashboard_reader"
OUTSIDER = "dashboard_outsider"
# Stands in rows, conditions and errors; no result may hold it.
PATIENT = "Achieng-0712345678"

TABLES = f"""
CREATE SCHEMA reports;
CREATE TABLE reports.visits (id int, area text, visits int, share float8, stock numeric, reported timestamptz);
INSERT INTO reports.visits
SELECT n, 'area ' || n % 7, n % 5, n / 7.0, n / 3.0, now() - make_interval(hours => n) FROM generate_series(1, 200) AS n;
CREATE TABLE reports.patients (uuid int, name text) WITH (autovacuum_enabled = false);
INSERT INTO reports.patients SELECT n, '{PATIENT}' FROM generate_series(1, 60000) AS n;
CREATE UNIQUE INDEX patients_uuid ON reports.patients (uuid);
CREATE TABLE reports.secret AS SELECT '{PATIENT}'::text AS name;
GRANT USAGE ON SCHEMA reports TO {READER};
GRANT SELECT ON reports.visits, reports.patients TO {READER};
GRANT INSERT ON reports.visits TO {READER};
CREATE SEQUENCE reports.taken;
GRANT ALL ON SEQUENCE reports.taken TO {READER};
ANALYZE reports.visits, reports.patients;
"""
# What happened to the target, and is to be found out.
HARM = """
UPDATE reports.visits SET share = share + 0.004, visits = visits + (id = 3)::int, stock = stock + (id = 5)::int * 9;
UPDATE reports.visits SET reported = reported - interval '3 days';
REVOKE SELECT ON reports.patients FROM {reader};
GRANT SELECT (uuid, name) ON reports.patients TO {reader};
DROP INDEX reports.patients_uuid;
"""

VISITS = "SELECT id, area, visits FROM visits"


def query(name: str, sql: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "sql": sql, "role": READER, **more}


QUERIES: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: the query; how it must end; what must be said of it.
    "equal": (query("equal", "SELECT id, area, 1.50 AS x, NULL AS nothing FROM visits;", ordered=True), "same", ""),
    "version": (
        query("version", "SELECT current_setting('server_version') AS version, 1 AS one", ignore_columns=["version"]),
        "same",
        "",
    ),
    "a value": (query("a value", VISITS), "differs", "Both have 200 rows, with differences in the columns visits."),
    "fewer rows": (
        query("fewer rows", VISITS + " WHERE visits <> 3"),
        "differs",
        "The source has 160 rows, the target 161.",
    ),
    "order": (
        query("order", "SELECT area FROM visits WHERE id < 9 ORDER BY visits, id", ordered=True),
        "differs",
        "Both have the same rows in different orders",
    ),
    "any order": (query("any order", "SELECT area FROM visits WHERE id < 9 ORDER BY visits, id"), "same", ""),
    "near": (query("near", "SELECT area, avg(share) AS share FROM visits GROUP BY 1", tolerance=0.005), "same", ""),
    "near rows": (
        query("near rows", "SELECT share, area FROM visits ORDER BY id", tolerance=0.005, ordered=True),
        "same",
        "",
    ),
    "too far": (
        query("too far", "SELECT id, share, stock FROM visits", tolerance=0.005),
        "differs",
        "Of 200 rows, 1 differs by more than the tolerance 0.005.",
    ),
    "no tolerance": (query("no tolerance", "SELECT share FROM visits"), "differs", "columns share"),
    "ignored": (
        query("ignored", "SELECT * FROM visits", ignore_columns=["visits", "share", "stock", "reported"]),
        "same",
        "",
    ),
    "no such column": (
        query("no such column", VISITS, ignore_columns=["visit"]),
        "failed",
        "no column 'visit', only id",
    ),
    "stale": (
        query(
            "stale",
            "SELECT count(*) AS n, max(reported) AS newest FROM visits",
            newest="newest",
            newest_within_hours=48,
        )
        | {"ignore_columns": ["newest"]},
        "stale",
        "The newest row on the target is 73",
    ),
    "slow": (
        query("slow", f"SELECT count(*) FROM patients WHERE uuid = 4711 AND name <> '{PATIENT}x'"),
        "slow",
        "is missing on the target. On the target, run: CREATE UNIQUE INDEX patients_uuid",
    ),
    "time-out": (query("time-out", "SELECT pg_sleep(60)"), "failed", "It ran longer than 2 s"),
    "no right": (
        query("no right", "SELECT name FROM reports.secret"),
        "failed",
        f"It is refused as '{READER}': permission denied for table secret.",
    ),
    "no role": (query("no role", "SELECT 1", role="nobody_here"), "failed", "There is no role 'nobody_here'"),
    "writes": (
        query("writes", f"INSERT INTO visits (area) VALUES ('{PATIENT}') RETURNING id"),
        "failed",
        "It would write, which is refused",
    ),
    "a sequence": (query("a sequence", "SELECT nextval('taken')"), "failed", "It would write"),
    "two": (
        query("two", "SELECT 1; COMMIT; INSERT INTO reports.visits (area) VALUES ('two')"),
        "failed",
        "It isn't one query that returns rows",
    ),
    "no query": (query("no query", "DELETE FROM visits"), "failed", "It isn't one query"),
    "mistyped": (query("mistyped", "SELECT nothing FROM visits"), "failed", 'column "nothing" does not exist'),
    "a cast": (query("a cast", "SELECT name::int FROM patients"), "failed", "error 22P02, whose text may quote data"),
}


@pytest.fixture
def sides(
    fresh_database: Callable[[Cluster], str], source_cluster: Cluster, target_cluster: Cluster
) -> Iterator[tuple[str, Cluster, Cluster]]:
    for cluster in (source_cluster, target_cluster):
        name = fresh_database(cluster)
        for role in (READER, OUTSIDER):
            seed.create_role(cluster, role)
        execute(cluster, TABLES, name)
        # The role's own setting, which a session that becomes the role doesn't get by itself.
        execute(cluster, f"ALTER ROLE {READER} IN DATABASE {name} SET search_path = reports")
    yield name, source_cluster, target_cluster
    for cluster in (source_cluster, target_cluster):
        seed.drop_database(cluster, name)
        execute(cluster, f"DROP ROLE {READER}; DROP ROLE {OUTSIDER}")


def ask(cluster: Cluster, name: str, queries: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    asked = {"key": "k" * 64, "timeout": 2, "queries": queries, **login(cluster, name), **options}
    result = run_module("dashboard_query_info", asked)
    assert "answers" in result, result
    assert PATIENT not in json.dumps(result)
    return result["answers"]


def test_every_way_to_differ_is_told_without_a_value(sides: tuple[str, Cluster, Cluster]) -> None:
    name, source, target = sides
    execute(target, HARM.format(reader=READER), name)
    queries = [case[0] for case in QUERIES.values()]
    ours = ask(source, name, queries)
    theirs = ask(target, name, queries)
    compared = dashboard_comparison(ours, theirs, slow_ratio=3, slow_milliseconds=2)
    assert PATIENT not in json.dumps(compared)
    assert not compared["passed"]
    found = {entry["name"]: entry for entry in compared["queries"]}
    for case, (_query, status, sentence) in QUERIES.items():
        said = " ".join(found[case]["problems"] + found[case]["advice"])
        assert (case, found[case]["status"]) == (case, status), found[case]
        assert sentence in said, found[case]
        for statement in re.findall(r"On the target, run: (.*?;)", said):
            execute(target, statement, name)
    # Nothing was written, on either side.
    for cluster in (source, target):
        assert column(cluster, "SELECT count(*) FROM reports.visits", name) == [200]
        assert column(cluster, "SELECT is_called FROM reports.taken", name) == [False]
    assert any(line.startswith("DIFFERS  a value: 200 rows; ") for line in compared["lines"])
    # A result of one row can't be guessed from its digest: under another key it is another one.
    again = ask(source, name, queries[:1], key="other", runs=0)
    assert again[0]["digests"]["set"] != ours[0]["digests"]["set"]


def test_missing_statistics_are_named(sides: tuple[str, Cluster, Cluster]) -> None:
    name, source, target = sides
    asked = [query("patients", "SELECT count(*) FROM patients WHERE uuid < 9", role="")]
    execute(target, "CREATE TABLE reports.young (LIKE reports.patients) WITH (autovacuum_enabled = false)", name)
    execute(target, "INSERT INTO reports.young SELECT * FROM reports.patients", name)
    execute(target, "ALTER TABLE reports.patients RENAME TO old; ALTER TABLE reports.young RENAME TO patients", name)
    execute(target, f"GRANT SELECT ON reports.patients TO {READER}", name)
    reader = {"login_user": READER}
    ours = ask(source, name, asked, **reader, login_password=_password(source, READER))
    theirs = ask(target, name, asked, **reader, login_password=_password(target, READER))
    (entry,) = dashboard_comparison(ours, theirs, slow_ratio=1, slow_milliseconds=0.5)["queries"]
    assert entry["status"] == "slow"
    assert "was never analyzed on the target" in entry["advice"][0]
    assert 'ANALYZE "reports"."patients";' in entry["advice"][0]


def _password(cluster: Cluster, user: str) -> str:
    lines = cluster.passfile.read_text(encoding="utf-8").splitlines()
    return next(line.rsplit(":", 1)[1] for line in lines if f":{user}:" in line)


def test_no_candidates_where_the_library_is_not_loaded(
    old_cluster: Cluster, fresh_database: Callable[[Cluster], str]
) -> None:
    """A restore creates the extension on any server."""
    name = fresh_database(old_cluster)
    execute(old_cluster, "CREATE EXTENSION pg_stat_statements", name)
    result = run_module("dashboard_query_info", {"candidates": 5, **login(old_cluster, name)})
    assert not result.get("failed"), result
    assert result["candidates"] is None


def test_candidates_have_no_constants() -> None:
    """From a server that has pg_stat_statements: read-only statements of this database, constants removed."""
    folder = Path(tempfile.mkdtemp(prefix="candidates-", dir=places.work_folder("clusters")))
    settings = {"shared_preload_libraries": "pg_stat_statements"}
    with Cluster.create(folder, binaries.binaries(10), settings=settings) as cluster:
        options = {"candidates": 5, **login(cluster, "postgres")}
        assert run_module("dashboard_query_info", options)["candidates"] is None
        execute(cluster, "CREATE EXTENSION pg_stat_statements; CREATE TABLE patients AS SELECT 'x'::text AS name")
        for _time in range(3):
            execute(cluster, f"SELECT count(*) FROM patients WHERE name = '{PATIENT}' -- {PATIENT}")
        execute(cluster, f"INSERT INTO patients VALUES ('{PATIENT}')")
        execute(cluster, f"DO $$ BEGIN PERFORM '{PATIENT}'; END $$")
        found = run_module("dashboard_query_info", options)["candidates"]
    assert PATIENT not in json.dumps(found)
    (candidate,) = [entry for entry in found if "patients" in entry["query"]]
    assert candidate["calls"] == 3
    assert candidate["query"].startswith("SELECT count(*) FROM patients WHERE name = $1")


@pytest.mark.long
def test_the_playbook_proves_the_dashboards_of_a_migration(migration: Migration) -> None:
    """As an operator runs it, with a query in a file, and a role of another name; the outcome is in the record and in the report."""
    seed.create_role(migration.target, "reading_there")
    migration.variables["couch2pg_role_map"] = {seed.READER: "reading_there"}
    driver.reach(migration)
    file = migration.folder / "areas.sql"
    file.write_text("SELECT area, month, reports FROM dashboard_areas ORDER BY 1, 2;\n", encoding="utf-8")
    migration.variables["couch2pg_dashboard_queries"] = [
        {"name": "areas", "file": str(file), "role": seed.READER, "ordered": True},
        {"name": "documents", "sql": "SELECT count(*) FROM couchdb", "role": seed.READER},
    ]
    run = migration.run("dashboards")
    assert run.code == 0, run.output
    assert not run.warnings
    # The report, which says so.
    assert run.changed == 1, run.output
    record = migration.record
    jsonschema.validate(record, json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8")))
    assert [entry["status"] for entry in record["phases"]["dashboards"]["result"]["queries"]] == ["same", "same"]
    document = json.dumps({"_id": secrets.token_hex(8), "name": PATIENT})
    execute(migration.target, f"INSERT INTO couchdb VALUES ('{document}')", migration.database)
    assert "documents: Both have 1 row, with differences in the columns count." in migration.fail(playbook="dashboards")
    assert not migration.record["phases"]["dashboards"]["result"]["passed"]
    report = (migration.folder / "records" / "test.md").read_text(encoding="utf-8")
    assert "| documents | differs |" in report
    assert PATIENT not in report
    migration.variables["couch2pg_dashboard_queries"] = []
    unknown = migration.run("dashboards").output
    assert "set couch2pg_dashboard_queries" in unknown
    assert "not in the server's shared_preload_libraries" in unknown
    assert "Copy their SQL" in unknown
    assert "listed above" not in unknown
