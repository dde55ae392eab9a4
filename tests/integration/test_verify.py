# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification finds every way in which a target can differ, and nothing is promoted then."""

from __future__ import annotations

import pytest
from support import driver
from support.migration import Migration, column, execute

PHASES = "- hosts: couch2pg_{}\n  gather_facts: false\n  any_errors_fatal: true\n  roles: [{}]\n"

# What somebody did to the restored database; how it is undone; what the run must say.
DIFFERENCES = {
    "a lost row": (
        "CREATE TABLE pg_temp.kept AS SELECT * FROM couchdb LIMIT 1; DELETE FROM couchdb WHERE doc = (SELECT doc FROM pg_temp.kept)",
        None,
        "rows: public.couchdb has a different number of rows",
    ),
    "a doubled row": (
        "INSERT INTO couchdb_users_meta SELECT * FROM couchdb_users_meta LIMIT 1",
        "DELETE FROM couchdb_users_meta WHERE ctid = (SELECT max(ctid) FROM couchdb_users_meta)",
        "rows: public.couchdb_users_meta has a different number of rows",
    ),
    "a changed place": (
        "UPDATE couchdb_progress SET seq = seq || ' '",
        "UPDATE couchdb_progress SET seq = rtrim(seq)",
        "rows: public.couchdb_progress has different content",
    ),
    "another owner": (
        "ALTER TABLE couchdb_progress OWNER TO postgres",
        "ALTER TABLE couchdb_progress OWNER TO couch2pg",
        "table public.couchdb_progress differs",
    ),
    "a lost grant": (
        "REVOKE SELECT ON couchdb FROM superset",
        "SET ROLE couch2pg; GRANT SELECT ON couchdb TO superset; RESET ROLE",
        "grants TABLE couchdb in public is missing on the target",
    ),
    "a lost index": (
        "ALTER INDEX couchdb_doc_uuid RENAME TO elsewhere",
        "ALTER INDEX elsewhere RENAME TO couchdb_doc_uuid",
        "index public.couchdb_doc_uuid is missing on the target",
    ),
    "another function": (
        "ALTER FUNCTION refresh_matviews() SET work_mem = '5MB'",
        "ALTER FUNCTION refresh_matviews() RESET work_mem",
        "function public.refresh_matviews() differs",
    ),
    "one table more": (
        "CREATE TABLE stranger (x int)",
        'DROP TABLE "public"."stranger"',
        "rows: public.stranger is on the target only",
    ),
    "a sequence elsewhere": (
        "SELECT setval('export_number', 999)",
        None,
        "sequence value: public.export_number is outside of the source's range",
    ),
}


def test_every_difference_stops_the_run(migration: Migration) -> None:
    incoming = f"{migration.database}_incoming"
    driver.reach(migration, "refresh")
    (migration.folder / "promote.yml").write_text(
        PHASES.format("target", "cht.couch2pg.verify, cht.couch2pg.promote"), encoding="utf-8"
    )
    migration.variables["couch2pg_recount"] = True
    cases = sorted(DIFFERENCES.items(), key=lambda case: case[1][1] is None)
    # A message names three.
    for some in (cases[start : start + 3] for start in range(0, len(cases), 3)):
        for _name, (harm, _undo, _sentence) in some:
            execute(migration.target, harm, incoming)
        message = driver.run_phase(migration, "verify")["msg"]
        assert driver.run_phase(migration, "promote")["code"] == "not_verified"
        for name, (_harm, undo, sentence) in some:
            assert sentence in message, name
            if undo:
                execute(migration.target, undo, incoming)
    assert cases[-1][1][2] in migration.fail(playbook=str(migration.folder / "promote"))
    assert migration.database not in migration.databases()
    # What stopped is told in the report as well, though the run never came to its end.
    report = (migration.folder / "records" / "test.md").read_text(encoding="utf-8")
    assert report.startswith("# STOPPED in verify: migration test")
    assert cases[-1][1][2].split(": ")[1].split(" ")[0] in report
    # What was written to after the restore is not what the restore has digested.
    assert "different; 1 table with different rows" in report
    assert "| `public.couchdb` | differs |" in report
    steps = report[report.index("## Next steps") :].split("Log: ")[0]
    assert "migrate -i inventory.yml -e couch2pg_migration_id=test -e couch2pg_restart_from=restore" in steps


@pytest.mark.long
def test_a_matview_that_was_not_populated_is_named(migration: Migration) -> None:
    incoming = f"{migration.database}_incoming"
    driver.reach(migration, "restore")
    assert "is not populated" in driver.run_phase(migration, "verify")["msg"]
    assert column(migration.target, "SELECT count(*) FROM pg_matviews WHERE ispopulated", incoming) == [0]
    driver.reach(migration)


# It has rows on the source (16) and none on the target (18).
ONLY_BEFORE_17 = """
CREATE MATERIALIZED VIEW before_17 AS SELECT 1 AS n WHERE current_setting('server_version_num')::int < 170000;
ALTER MATERIALIZED VIEW before_17 OWNER TO couch2pg; CREATE UNIQUE INDEX ON before_17 (n)
"""


@pytest.mark.long
def test_a_run_throws_a_phase_away_and_says_what_is_empty(migration: Migration) -> None:
    """The commands that messages print, as an operator pastes them; then the summary, the report and a recount."""
    execute(migration.source, ONLY_BEFORE_17, migration.database)
    until = "preflight,dump,transfer,restore,refresh"
    migration.succeed("--tags", until)
    before = made_by(migration)
    for phase, changed in (("restore", [False, True]), ("transfer", [False, True]), ("dump", [True, True])):
        incoming = f"{migration.database}_incoming"
        execute(migration.target, "DELETE FROM couchdb WHERE ctid = (SELECT min(ctid) FROM couchdb)", incoming)
        named = f"-i inventory.yml -e couch2pg_migration_id={migration.name} -e couch2pg_restart_from=restore"
        assert named in migration.fail()
        migration.succeed("--tags", until, "-e", f"couch2pg_restart_from={phase}")
        now = made_by(migration)
        assert [new != old for new, old in zip(now, before)] == changed
        before = now
    told = "The materialized view public.before_17 has 1 row on the source and none on the target."
    assert told in migration.succeed().output
    for ending in ("html", "md"):
        report = (migration.folder / "records" / f"test.{ending}").read_text(encoding="utf-8")
        assert "public.before_17" in report
    again = migration.succeed("-e", "couch2pg_recount=true").output
    assert "the rows are not compared again" in again
    assert migration.record["phases"]["verify"]["error"] is None


def made_by(migration: Migration) -> list[object]:
    """The snapshot of the dump and the database of the restore."""
    phases = migration.record["phases"]
    return [phases["dump"]["result"]["snapshot"], phases["restore"]["result"]["oid"]]
