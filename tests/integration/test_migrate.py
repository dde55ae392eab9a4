# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole migration, as an operator runs it."""

from __future__ import annotations

import json
from typing import Callable

import jsonschema
import pytest
from support import driver, seed
from support.cases import rarely
from support.clusters import Cluster
from support.migration import ROOT, Migration, column, execute
from support.preflight import finding, look, look_at_target
from support.writer import BackgroundWriter, Writer

OID = "(SELECT oid FROM pg_database WHERE datname = current_database())"
SCHEMA = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))


def count(cluster: Cluster, database: str, table: str = "couchdb") -> int:
    (rows,) = column(cluster, f"SELECT count(*) FROM {table}", database)
    return int(rows)


@pytest.mark.parametrize("oldest", [True, rarely(False)])
def test_a_migration_while_couch2pg_writes(
    make_migration: Callable[[Cluster, Cluster], Migration],
    source_cluster: Cluster,
    old_cluster: Cluster,
    target_cluster: Cluster,
    oldest: bool,
) -> None:
    """The evidence matches exactly although the source never stands still. Molecule's scenario ``local`` repeats a run and checks.

    PostgreSQL 10 to 18: other text of floats, no extended hashes, other words for the same views. The database's name has a space,
    a quote, an equals sign: none of them ends a name.
    """
    migration = make_migration(old_cluster if oldest else source_cluster, target_cluster)
    # All of it as an operator runs it: no other test of this file does.
    migration.warm = oldest
    if oldest:
        plain = migration.database
        migration.database = f'{plain} it\'s="odd"'
        odd = migration.database.replace('"', '""')
        execute(migration.source, f'ALTER DATABASE {plain} RENAME TO "{odd}"')
    database = migration.database
    seed.create_database(migration.target, database)
    writer = Writer(lambda: migration.source.connect(database))
    with BackgroundWriter(writer) as background:
        background.wait_for(1)
        first = migration.succeed()
        written = background.stop()
    assert written.batches > 3
    assert "DONE" in first.output
    record = migration.record
    jsonschema.validate(record, SCHEMA)
    assert {phase: entry["status"] for phase, entry in record["phases"].items()} == dict.fromkeys(
        ("preflight", "dump", "transfer", "restore", "refresh", "verify", "promote"), "done"
    )
    assert record["phases"]["transfer"]["result"]["way"] == "local"
    assert record["phases"]["verify"]["result"]["digest_method"] == ("md5" if oldest else "hash64")
    dumped = {row["table"]: (row["rows"], row["digest"]) for row in record["phases"]["dump"]["result"]["tables"]}
    restored = {row["table"]: (row["rows"], row["digest"]) for row in record["phases"]["restore"]["result"]["tables"]}
    assert dumped == restored
    assert dumped["public.couchdb"][0] == count(migration.target, database)
    copy = json.loads((migration.folder / "records" / "test.json").read_text(encoding="utf-8"))
    assert copy == record
    for ending, beginning in (("html", "<!DOCTYPE html>"), ("md", "# DONE: migration test")):
        report = migration.folder / "records" / f"test.{ending}"
        assert report.read_text(encoding="utf-8").lstrip().startswith(beginning)
        assert report.stat().st_mode & 0o777 == 0o600
    assert str(migration.folder / "records" / "test.html") in first.output
    listed = json.loads((migration.archive / "manifest.json").read_text(encoding="utf-8"))["files"]
    told = record["phases"]["dump"]["result"]["file_list"]
    assert {row["sha256"] for row in told} == {file["sha256"] for file in listed}
    second = migration.succeed("--check")
    assert second.changed == 0
    if not oldest:
        assert migration.succeed().changed == 0


@pytest.mark.parametrize(
    ("archive_format", "digest"), [("tar", "semantic"), rarely("custom", "hash128"), rarely("directory", "md5")]
)
def test_the_target_is_like_the_source(migration: Migration, archive_format: str, digest: str) -> None:
    """Seen from outside: owner, settings, grants, matviews that couch2pg can refresh. One worker, other archives and digests."""
    migration.variables.update(couch2pg_format=archive_format, couch2pg_digest_method=digest, couch2pg_jobs=1)
    results = driver.reach(migration)
    assert results["dump"]["format"] == archive_format
    assert results["verify"]["digest_method"] == digest
    database, target = migration.database, migration.target
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{}'"
    assert column(target, owner.format(database)) == ["couch2pg"]
    for query in (
        f"SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setdatabase = {OID} ORDER BY 1",
        f"SELECT acl::text FROM pg_database, unnest(datacl) AS acl WHERE datname = '{database}' ORDER BY 1",
        "SELECT matviewname FROM pg_matviews WHERE ispopulated ORDER BY 1",
        "SELECT has_table_privilege('superset', 'public.couchdb', 'SELECT')",
        "SELECT has_table_privilege('superset', 'public.couchdb', 'DELETE')",
    ):
        assert column(target, query, database) == column(migration.source, query, database), query
    execute(target, "SET ROLE couch2pg; SELECT public.refresh_matviews()", database)


def test_an_empty_database_is_merged_with_the_source_and_kept(migration: Migration) -> None:
    database = migration.database
    seed.create_role(migration.target, "lender")
    seed.create_database(migration.target, database, "lender")
    # Else couch2pg, who may create in public on the source, could not on the target, and preflight refuses.
    place = {
        "state_dir": str(migration.folder / "state"),
        "staging_dir": str(migration.folder / "staging"),
        "bin_dir": str(migration.bin_dir),
        "migration_id": migration.name,
    }
    facts = look(place, migration.source, database)["facts"]
    message = finding(look_at_target(place, migration.target, database, facts), "schema public")["message"]
    assert f'On the target: ALTER DATABASE "{database}" OWNER TO "couch2pg";' in message
    # Another way, for an operator who wants to keep the owner.
    execute(migration.target, "GRANT lender TO couch2pg")
    execute(migration.target, f"ALTER DATABASE {database} SET statement_timeout = '7min'")
    results = driver.reach(migration)
    found = column(
        migration.target,
        "SELECT pg_get_userbyid(datdba) || ' ' || setconfig::text FROM pg_database d JOIN pg_db_role_setting s "
        f"ON s.setdatabase = d.oid AND s.setrole = 0 WHERE datname = '{database}'",
    )
    assert found == ["lender {TimeZone=Africa/Nairobi,statement_timeout=7min,work_mem=16MB}"]
    public = "SELECT split_part(acl::text, '/', 1) FROM pg_database, unnest(datacl) AS acl WHERE datname = '{}' AND acl::text LIKE '=%'"
    assert column(migration.target, public.format(database), "postgres") == column(
        migration.source, public.format(database), "postgres"
    )
    assert results["restore"]["properties_differ"] == [
        "owner 'lender' (source: 'couch2pg')",
        "setting statement_timeout=7min",
    ]
    assert results["promote"]["kept_as"] in migration.databases()


@pytest.mark.long
def test_check_mode_changes_nothing_and_shows_every_finding(migration: Migration) -> None:
    before = migration.databases()
    run = migration.succeed("--check", "--diff")
    assert "disk /" in run.output
    assert "ok       rights" in run.output
    assert migration.databases() == before
    assert not (migration.folder / "state").exists()
    assert not (migration.folder / "staging").exists()


@pytest.mark.long
def test_a_second_migration_of_the_same_database(migration: Migration) -> None:
    """After a rehearsal, under another name, what was there before is kept again."""
    driver.reach(migration)
    migration.name = "second"
    migration.variables["couch2pg_replace_existing"] = True
    driver.reach(migration)
    assert len([name for name in migration.databases() if name.startswith(migration.database)]) == 2


@pytest.mark.long
def test_progress_is_shown_while_long_work_goes_on(migration: Migration) -> None:
    """On a host where that is wanted."""
    migration.variables["couch2pg_progress_seconds"] = 0.05
    migration.host_variables["source"] = {"couch2pg_show_progress": False}
    play = [
        {"hosts": "couch2pg_source", "gather_facts": False, "roles": ["cht.couch2pg.dump"]},
        {"hosts": "couch2pg_target", "gather_facts": False, "roles": ["cht.couch2pg.transfer", "cht.couch2pg.restore"]},
    ]
    (migration.folder / "play.yml").write_text(json.dumps(play), encoding="utf-8")
    run = migration.run(str(migration.folder / "play"))
    assert run.code == 0, run.output
    assert "target | restore | " in run.output
    assert "source | dump | " not in run.output
