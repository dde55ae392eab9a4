# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal, as an operator runs it before the migration: looked at from outside, nothing of the migration itself is touched."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common import restart
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document
from support import seed
from support.background import Background, kill, wait_until
from support.cases import rarely
from support.clusters import Cluster
from support.migration import ROOT, Migration, Run, column, execute
from support.migration import login as migration_login
from support.modules import login, run_module

SCHEMA = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))


def rehearse(migration: Migration, *arguments: str) -> Run:
    """One that ends well, without a warning."""
    run = migration.run("rehearse", *arguments)
    assert (run.code, run.warnings) == (0, []), run.output
    migration.check_secrets(run.output)
    return run


def names(migration: Migration) -> list[str]:
    """The rehearsals whose state is there, oldest first."""
    return sorted(path.name for path in migration.state.parent.glob("*_rehearsal_*"))


def record(migration: Migration, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((migration.state.parent / name / "record.json").read_text(encoding="utf-8"))
    return found


def copy(migration: Migration) -> str:
    return f"{migration.database}_rehearsal"


def finding(migration: Migration) -> dict[str, Any]:
    """What preflight of the migration itself has written down about its rehearsals."""
    target = migration.record["phases"]["preflight"]["result"]["target"]
    (found,) = [entry for entry in target if entry["name"] == "rehearsal"]
    return dict(found)


def forget_roles(target: Cluster) -> None:
    """The target lacks the roles of dashboards, whatever migrations have made there before."""
    for role in ("superset", "reader"):
        execute(target, f"DROP ROLE IF EXISTS {role}")


def check_nothing_is_left(migration: Migration) -> None:
    """On the server and in the staging folder it is as if there had been no rehearsal."""
    assert copy(migration) not in migration.databases()
    assert list((migration.folder / "staging").glob("*_rehearsal_*")) == []
    assert column(migration.target, "SELECT rolname FROM pg_roles WHERE rolname IN ('superset', 'reader')") == []


@pytest.mark.parametrize("thoroughly", [False, rarely(True)])
def test_two_rehearsals_and_then_the_migration(migration: Migration, thoroughly: bool) -> None:
    """The real name, an empty database that the operator made, and the migration's state stay as they are until it is its turn."""
    database, target = migration.database, migration.target
    forget_roles(target)
    seed.create_database(target, database)
    before = column(target, f"SELECT oid FROM pg_database WHERE datname = '{database}'")
    first = rehearse(migration)
    assert "begins." in first.output
    assert "the copy was complete and verified" in first.output
    assert "rehearsal: The migration" not in first.output
    check_nothing_is_left(migration)
    assert not migration.state.exists()
    execute(migration.source, "INSERT INTO couchdb_progress (source, seq) VALUES ('elsewhere/medic', '1-x')", database)
    second = rehearse(migration, "-e", "couch2pg_rehearsal_keep=true")
    assert f"{copy(migration)} on target is kept" in second.output
    assert "1 of " in second.output
    assert "couchdb_progress +1 row (" in second.output
    assert column(target, f"SELECT oid FROM pg_database WHERE datname = '{database}'") == before
    done = [record(migration, name) for name in names(migration)]
    assert len(done) == 2
    for document in done:
        jsonschema.validate(document, SCHEMA)
        assert "promote" not in document["phases"]
        assert document["phases"]["verify"]["status"] == "done"
    ended = done[1]["phases"]["rehearse"]["result"]
    assert [entry["outcome"] for entry in ended["rehearsals"]] == ["done", "done"]
    assert ended["comparison"]["with"] == names(migration)[0]
    assert ended["forecast"]["rehearsals"] == 2
    report = migration.folder / "records" / f"{names(migration)[1]}.md"
    assert report.read_text(encoding="utf-8").startswith("# REHEARSED: ")
    assert "## Rehearsals" in report.read_text(encoding="utf-8")
    check_only_its_own_copy_is_dropped(migration, names(migration)[1])
    if not thoroughly:
        return
    migrated = migration.succeed()
    assert "rehearsed 2 times; the migration takes about " in migrated.output
    assert (finding(migration)["status"], len(finding(migration)["details"]["rehearsals"])) == ("ok", 2)
    # As in the rehearsal: the roles that the restore makes wait for their passwords.
    assert "superset" in migration.record["phases"]["restore"]["result"]["created_roles"]


@pytest.mark.long
def test_the_migrated_database_is_left_alone(migration: Migration) -> None:
    """In check mode nothing is made, and a migration that is done stays done."""
    migration.succeed()
    before = sorted(path for path in migration.folder.rglob("*") if "output" not in path.name)
    rehearse(migration, "--check")
    assert sorted(path for path in migration.folder.rglob("*") if "output" not in path.name) == before
    warned = rehearse(migration).output
    assert "The rehearsal doesn't change it. The migration will refuse it" in warned
    assert migration.succeed().changed == 0


def stopped(migration: Migration) -> str:
    """One whose dump was killed; returns its name."""
    forget_roles(migration.target)
    migration.variables["couch2pg_rate_limit"] = "10KB"
    run = Background(migration, playbook="rehearse")
    jobs = migration.state.parent
    wait_until(
        "the dump writes", lambda: list(migration.folder.glob("staging/*.partial")) or run.process.poll() is not None
    )
    (name,) = names(migration)
    kill(processes.of_job(jobs / name / "jobs" / "dump"))
    assert "ended without a result" in run.end().message
    migration.variables["couch2pg_rate_limit"] = "0"
    return name


@pytest.mark.long
def test_one_that_was_interrupted_is_resumed(migration: Migration) -> None:
    name = stopped(migration)
    assert "did not finish" in migration.run("preflight").output
    ended = rehearse(migration)
    assert f"{name} is resumed." in ended.output
    assert names(migration) == [name]
    assert record(migration, name)["phases"]["rehearse"]["result"]["rehearsals"][0]["interrupted"]
    check_nothing_is_left(migration)


# Its refresh fails where a setting of the server says so.
FAILS_BY_A_SETTING = """
CREATE MATERIALIZED VIEW settled AS SELECT 1 / coalesce(nullif(current_setting('cht.settled', true), ''), '1')::int AS n;
ALTER MATERIALIZED VIEW settled OWNER TO couch2pg; CREATE UNIQUE INDEX ON settled (n)
"""


@pytest.mark.long
def test_the_command_of_one_that_failed_continues_it(migration: Migration) -> None:
    """As an operator pastes it: the rows are loaded again into the copy, and the migration itself does not begin."""
    forget_roles(migration.target)
    execute(migration.source, FAILS_BY_A_SETTING, migration.database)
    execute(migration.target, "ALTER SYSTEM SET cht.settled = '0'")
    try:
        execute(migration.target, "SELECT pg_reload_conf()")
        assert "public.settled" in migration.fail(playbook="rehearse")
    finally:
        execute(migration.target, "ALTER SYSTEM RESET cht.settled")
        execute(migration.target, "SELECT pg_reload_conf()")
    execute(migration.target, "DELETE FROM couchdb WHERE ctid = (SELECT min(ctid) FROM couchdb)", copy(migration))
    message = migration.fail(playbook="rehearse")
    (command,) = restart.printed(message)
    program, playbook, _option, inventory, *arguments = shlex.split(command)
    assert (program, playbook, inventory) == ("ansible-playbook", "cht.couch2pg.rehearse", "inventory.yml")
    assert arguments == ["-e", "couch2pg_migration_id=test", "-e", "couch2pg_restart_from=restore"], message
    (name,) = names(migration)
    report = (migration.folder / "records" / f"{name}.md").read_text(encoding="utf-8")
    assert command in report[report.index("## Next steps") :]
    assert "cht.couch2pg.migrate" not in report
    rehearse(migration, *arguments)
    assert names(migration) == [name]
    assert record(migration, name)["phases"]["rehearse"]["result"]["outcome"] == "done"
    check_nothing_is_left(migration)
    assert not migration.state.exists()


@pytest.mark.long
def test_one_that_is_given_up_leaves_nothing(migration: Migration) -> None:
    name = stopped(migration)
    assert "ABANDONED" in rehearse(migration, "-e", "couch2pg_rehearsal_abandon=true").output
    check_nothing_is_left(migration)
    assert record(migration, name)["phases"]["rehearse"]["result"]["outcome"] == "abandoned"
    assert "there is none to abandon" in migration.fail("-e", "couch2pg_rehearsal_abandon=true", playbook="rehearse")
    rehearse(migration)
    assert len(names(migration)) == 2


def test_a_physical_one_is_given_up_where_the_inventory_does_not_suit_it(migration: Migration) -> None:
    """The variable came into the inventory after that rehearsal had begun, which keeps its method."""
    name = "test_rehearsal_20261123T221530"
    method = {"method": {"method": "physical", "reason": ""}, "source": [], "target": []}
    checked = record_document.make_entry("target", method)
    begun = record_document.merge(None, name, migration.database, "preflight", checked, "2026-11-23T22:16:00Z")
    state = migration.state.parent / name
    state.mkdir(parents=True)
    write_json(state / "record.json", begun)
    migration.variables["couch2pg_rehearsal_keep"] = True
    abandon, archive = restart.printed(migration.fail("-e", "couch2pg_method=archive", playbook="rehearse"))
    given_up = rehearse(migration, *shlex.split(abandon)[4:])
    assert "ABANDONED" in given_up.output
    assert record(migration, name)["phases"]["rehearse"]["result"]["outcome"] == "abandoned"
    assert shlex.split(archive)[4:] == ["-e", "couch2pg_migration_id=test couch2pg_method=archive"]


@pytest.mark.long
def test_a_copy_of_a_stranger_is_refused(migration: Migration) -> None:
    seed.create_database(migration.target, copy(migration))
    assert "this migration didn't make it" in migration.fail(playbook="rehearse")


def check_only_its_own_copy_is_dropped(migration: Migration, rehearsal: str) -> None:
    """A copy that was exchanged is refused, and one that somebody uses."""
    target, name = migration.target, copy(migration)
    assert column(target, "SELECT count(*) > 0 FROM couchdb", name) == [True]
    options = {
        **login(target, name),
        "migration_id": rehearsal,
        "state_dir": str(migration.state.parent),
        "which": "rehearsal",
    }
    session = target.connect(name)
    try:
        assert "is used by postgres" in run_module("database_drop", options)["msg"]
    finally:
        session.close()
    assert "is not a rehearsal" in run_module("database_drop", {**options, "migration_id": "test"})["msg"]
    assert run_module("database_drop", options, check=True)["changed"]
    # The rehearsal made this role. Somebody gives it a login; then the handover of the rehearsal does.
    where = {option: options[option] for option in ("migration_id", "state_dir")}
    account = {**login(target, name), "role": "superset", "password": "a", "host": target.host, "port": target.port}
    for by_the_handover in (False, True):
        execute(target, "ALTER ROLE superset NOLOGIN")
        assert run_module("role_login", {**account, "give": True, **(where if by_the_handover else {})})["given"] != []
        planned = run_module("database_drop", options, check=True)["diff"]["before"].splitlines()
        assert ("superset" in planned) is by_the_handover
    execute(target, f"ALTER DATABASE {name} RENAME TO {name}_mine")
    seed.create_database(target, name)
    assert "was not created by the rehearsal" in run_module("database_drop", options)["msg"]
    assert {name, f"{name}_mine"} <= migration.databases()
    seed.drop_database(target, name)
    execute(target, f"ALTER DATABASE {name}_mine RENAME TO {name}")
    dropped = run_module("database_drop", options)
    assert (dropped["changed"], dropped["dropped"]) == (True, name)
    assert "superset" in dropped["roles"]
    assert not run_module("database_drop", options)["changed"]


@pytest.mark.long
def test_on_a_third_host(migration: Migration, tmp_path: Path) -> None:
    """The target is left alone altogether, and knows of it all the same when its turn comes."""
    seed.create_database(migration.target, migration.database)
    execute(migration.target, "CREATE TABLE precious AS SELECT 1 AS x", migration.database)
    migration.variables["couch2pg_replace_existing"] = True
    third = {"couch2pg_state_dir": str(tmp_path / "third"), "couch2pg_staging_dir": str(tmp_path / "staging of third")}
    inventory = tmp_path / "more" / "inventory.json"
    inventory.parent.mkdir()
    host = {**migration_login(migration.target), **third}
    inventory.write_text(json.dumps({"couch2pg_rehearsal": {"hosts": {"third": host}}}), encoding="utf-8")
    migration.variables["couch2pg_transfer_way"] = "relay"
    rehearse(migration, "-i", str(inventory))
    assert not migration.state.exists()
    assert [path.name for path in (tmp_path / "third").glob("*_rehearsal_*")] != []
    run = migration.run("preflight", "-i", str(inventory))
    inventory.unlink()
    assert "rehearsed once" in run.output
    assert "has not been rehearsed" in migration.run("preflight").output
