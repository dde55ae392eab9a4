# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole move of a real couch2pg: captured, carried over, started, healthy, and nothing lost; and what stops it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup.leftovers import CREDENTIAL_FILES
from ansible_collections.cht.couch2pg.plugins.module_utils.common import restart
from jsonschema import Draft202012Validator
from support import following
from support.background import Background, check_nothing_is_left, wait_until
from support.cases import rarely
from support.couchdb import CouchDB
from support.migration import ROOT, Migration, column, execute

PASSWORD = "p@s:s/w%40 $?#"


@pytest.fixture
def couchdb(tmp_path: Path) -> Iterator[CouchDB]:
    with CouchDB(tmp_path / "couchdb") as server:
        server.put("medic", [{"_id": f"report {number}", "type": "data_record"} for number in range(40)])
        yield server


@pytest.fixture
def moving(migration: Migration, couchdb: CouchDB) -> Iterator[Migration]:
    with following.following(migration, couchdb, PASSWORD) as moving:
        yield moving


@pytest.mark.long
@pytest.mark.parametrize("thoroughly", [False, rarely(True)])
def test_couch2pg_moves(moving: Migration, couchdb: CouchDB, thoroughly: bool) -> None:
    # What would stop it is found before anything is changed.
    sentence = moving.fail(playbook="preflight")
    assert "Nothing was changed" in sentence
    assert "couch2pg can't log in" in sentence
    assert moving.database not in moving.databases()

    moving.variables.update(couch2pg_give_login=True, couch2pg_password_hash="scram-sha-256")
    run = moving.succeed()
    assert PASSWORD not in run.output
    assert "couch2pg runs on target and is healthy" in run.output
    handover = moving.record["phases"]["handover"]["result"]
    assert handover["health"]["runs_completed"] >= 1
    # It went on from its place: nothing was downloaded again.
    assert handover["health"]["changes"] == 0
    assert all(entry["current"] for entry in handover["health"]["sync"])
    assert handover["reconciliation"]["differences"] == 0
    assert handover["settings"]["POSTGRESQL_URL"].endswith(
        f"@{moving.target.host}:{moving.target.port}/{moving.database}"
    )
    assert PASSWORD not in json.dumps(moving.record)
    schema = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))
    assert list(Draft202012Validator(schema).iter_errors(moving.record)) == []
    report = moving.folder / "records" / f"{moving.name}.md"
    assert "A clean install would have taken at least" in report.read_text(encoding="utf-8")
    target = Path(moving.host_variables["target"]["couch2pg_app"]["env_file"])
    assert target.stat().st_mode & 0o077 == 0

    # CouchDB never stands still; what is proven stays so.
    couchdb.put("medic", [{"_id": "later", "type": "data_record"}])
    later = "SELECT 1 FROM couchdb WHERE doc ->> '_id' = 'later'"
    wait_until("couch2pg takes it", lambda: column(moving.target, later, moving.database), 60)
    handing_over = ("--tags", "handover")
    again = moving.succeed(*handing_over)
    assert again.changed == 0, again.output

    # A document that is lost behind couch2pg's back fails, and is named, when documents are compared again.
    execute(moving.target, "DELETE FROM couchdb WHERE doc ->> '_id' = 'report 7'", moving.database)
    moving.variables["couch2pg_recount"] = True
    sentence = moving.fail(*handing_over)
    assert "Documents of CouchDB that are missing or older on the target: 1;" in sentence
    assert moving.record["phases"]["handover"]["status"] == "failed"
    if not thoroughly:
        return
    # What the sentence advises brings it again.
    following.supervise("stop", following.folder_of(moving, "target"))
    execute(moving.target, re.findall(r"UPDATE .*?;", sentence)[0], moving.database)
    moving.succeed(*handing_over)
    assert column(moving.target, "SELECT count(*) FROM couchdb WHERE doc ->> '_id' = 'report 7'", moving.database) == [
        1
    ]


@pytest.mark.long
def test_another_name_of_couchdb(moving: Migration, couchdb: CouchDB) -> None:
    moving.variables.update(couch2pg_give_login=True, couch2pg_password_hash="scram-sha-256", couch2pg_reconcile=False)
    # How the host reaches what couch2pg knows by other names is taken from the inventory.
    moving.host_variables["source"]["couch2pg_app_reach"] = {"login_port": 1}
    assert "port 1" in moving.fail(playbook="preflight")
    moving.host_variables["source"]["couch2pg_app_reach"] = {"login_host": moving.source.host}
    other = f"http://localhost:{couchdb.port}/medic"
    moving.host_variables["target"]["couch2pg_app_couchdb_url"] = other
    sentence = moving.fail()
    assert "would download everything again" in sentence
    moving.variables["couch2pg_rename_checkpoints"] = True
    moving.succeed()
    assert moving.record["phases"]["handover"]["result"]["health"]["changes"] == 0
    keys = column(moving.target, "SELECT source FROM couchdb_progress", moving.database)
    assert f"localhost:{couchdb.port}/medic" in keys


@pytest.mark.long
def test_only_the_database_moves(moving: Migration) -> None:
    # One couch2pg for both sides can't be moved. What the message names can.
    moving.host_variables["target"]["couch2pg_app"] = moving.host_variables["source"]["couch2pg_app"]
    sentence = moving.fail(playbook="preflight")
    assert "are the same deployment, the file" in sentence
    assert "set couch2pg_handover: false" in sentence
    moving.variables["couch2pg_handover"] = False
    run = moving.succeed()
    assert "handover" not in moving.record["phases"]
    assert "couch2pg was not moved" in run.output


@pytest.mark.long
def test_the_controller_is_killed_while_it_hands_over(moving: Migration) -> None:
    """couch2pg runs on the target already; the next run proves that it is healthy, and starts no second one."""
    moving.variables.update(couch2pg_give_login=True, couch2pg_password_hash="scram-sha-256")
    run = Background(moving)
    target = following.folder_of(moving, "target")
    wait_until("it is started", lambda: following.supervise("status", target) == 0)
    run.kill()
    pid = (target / "pid").read_text(encoding="utf-8")
    assert "handover" not in moving.record["phases"]
    moving.succeed()
    assert (target / "pid").read_text(encoding="utf-8") == pid
    assert moving.record["phases"]["handover"]["result"]["health"]["runs_completed"] >= 1
    assert moving.record["phases"]["handover"]["result"]["reconciliation"]["differences"] == 0
    check_nothing_is_left(moving)
    assert moving.succeed().changed == 0


@pytest.mark.long
def test_it_is_rehearsed_in_a_place_of_its_own(moving: Migration) -> None:
    """Against the copy, until it is healthy, then stopped; a start that fails is tried again; the real place is not touched."""
    moving.variables.update(couch2pg_give_login=True, couch2pg_password_hash="scram-sha-256")
    place = following.place_of(moving, "rehearsal")
    app = moving.host_variables["target"]["couch2pg_app"]
    for real in (
        app,
        {**app, "env_file": f"{app['env_file']}/"},
        {**place, "stop_command": app["stop_command"]},
        # The unit is couch2pg's own where none is named.
        {"kind": "systemd", "env_file": place["env_file"]},
        {"kind": "systemd", "unit": "cht-couch2pg.service"},
        {"kind": "auto", "unit": "other"},
    ):
        moving.host_variables["target"]["couch2pg_rehearsal_app"] = real
        assert "must be a deployment of its own" in moving.fail(playbook="rehearse")
    # A container that is only found doesn't say which project it is of.
    moving.host_variables["target"].update(
        couch2pg_rehearsal_app={"kind": "compose", "project_dir": "/opt/x"}, couch2pg_app={}
    )
    assert "must be a deployment of its own" in moving.fail(playbook="rehearse")
    moving.host_variables["target"]["couch2pg_app"] = app
    # That is found before hours were spent on the copy.
    assert list(moving.state.parent.glob("*_rehearsal_*")) == []
    moving.host_variables["target"]["couch2pg_rehearsal_app"] = {**place, "start_command": ["false"]}
    assert "start_command" in moving.fail(playbook="rehearse")
    moving.host_variables["target"]["couch2pg_rehearsal_app"] = place
    # The next run continues with the copy that is there.
    (dump,) = moving.state.parent.glob("*_rehearsal_*/jobs/dump/result.json")
    dumped = dump.stat()
    assert credentials(moving) == []
    # A document that the copy lacks. The command in the message makes the copy again.
    lost = "DELETE FROM couchdb WHERE doc ->> '_id' = 'report 7'"
    execute(moving.target, lost, f"{moving.database}_rehearsal")
    (command,) = restart.printed(moving.fail(playbook="rehearse"))
    assert dump.stat() == dumped
    assert command.startswith("ansible-playbook cht.couch2pg.rehearse -i inventory.yml "), command
    run = moving.run("rehearse", *shlex.split(command)[4:])
    assert run.code == 0, run.output
    assert PASSWORD not in run.output
    assert "is resumed." in run.output
    assert "couch2pg ran against the copy on target and was healthy" in run.output
    (name,) = (path.name for path in moving.state.parent.glob("*_rehearsal_*"))
    record = json.loads((moving.state.parent / name / "record.json").read_text(encoding="utf-8"))
    schema = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))
    assert list(Draft202012Validator(schema).iter_errors(record)) == []
    handover = record["phases"]["handover"]["result"]
    assert handover["health"]["runs_completed"] >= 1
    assert handover["reconciliation"]["differences"] == 0
    assert handover["postgres"]["database"] == f"{moving.database}_rehearsal"
    assert following.supervise("status", following.folder_of(moving, "rehearsal")) != 0
    assert f"{moving.database}_rehearsal" not in moving.databases()
    assert not Path(app["env_file"]).exists()
    # Nothing of it obstructs the migration.
    moving.succeed()
    assert moving.record["phases"]["handover"]["result"]["health"]["changes"] == 0


@pytest.mark.long
def test_the_controller_is_killed_while_it_is_rehearsed(moving: Migration, couchdb: CouchDB) -> None:
    """couch2pg has written to the copy. The next run stops it, and continues with that copy. Its settings are removed in any case."""
    moving.variables.update(couch2pg_give_login=True, couch2pg_password_hash="scram-sha-256")
    place = following.place_of(moving, "rehearsal")
    moving.host_variables["target"]["couch2pg_rehearsal_app"] = place
    folder, copy = following.folder_of(moving, "rehearsal"), f"{moving.database}_rehearsal"
    # It is not proven to be healthy before the test goes on.
    moving.variables["couch2pg_health_runs"] = 1000
    run = Background(moving, playbook="rehearse")
    wait_until("it is started", lambda: following.supervise("status", folder) == 0, 300)
    couchdb.put("medic", [{"_id": "later", "type": "data_record"}])
    later = "SELECT 1 FROM couchdb WHERE doc ->> '_id' = 'later'"
    wait_until("couch2pg writes to the copy", lambda: column(moving.target, later, copy))
    run.kill()
    pid = (folder / "pid").read_text(encoding="utf-8")
    (verified,) = moving.state.parent.glob("*_rehearsal_*/jobs/verify/result.json")
    before = verified.stat()
    assert credentials(moving) != []
    # couch2pg is started again, is not healthy in time, and can't be stopped by that command.
    moving.variables["couch2pg_health_timeout"] = 0.1
    moving.host_variables["target"]["couch2pg_rehearsal_app"] = {**place, "stop_command": ["false"]}
    following.supervise("stop", folder)
    failed = moving.run("rehearse")
    assert failed.code != 0
    assert "couch2pg made no progress for" in failed.output
    assert (
        "The couch2pg of the rehearsal could not be stopped. Correct couch2pg_rehearsal_app, or stop" in failed.output
    )
    assert verified.stat() == before
    assert credentials(moving) == []
    # It still runs, and the next run can't stop it either.
    credential = verified.parents[2] / CREDENTIAL_FILES[0]
    credential.touch()
    assert "The couch2pg of the rehearsal could not be stopped." in moving.fail(playbook="rehearse")
    assert not credential.exists()
    # The next run stops it, and it is healthy in time.
    moving.host_variables["target"]["couch2pg_rehearsal_app"] = place
    moving.variables.update(couch2pg_health_timeout=60, couch2pg_health_runs=1)
    again = moving.run("rehearse")
    assert again.code == 0, again.output
    assert "couch2pg ran against the copy on target and was healthy" in again.output
    assert verified.stat() == before
    assert (folder / "pid").read_text(encoding="utf-8") != pid
    assert following.supervise("status", folder) != 0
    assert credentials(moving) == []
    assert copy not in moving.databases()


def credentials(migration: Migration) -> list[Path]:
    """The files with couch2pg's settings that rehearsals have on the target."""
    return [path for name in CREDENTIAL_FILES for path in migration.state.parent.glob(f"*_rehearsal_*/{name}")]


@pytest.mark.long
def test_it_is_rehearsed_without_it(moving: Migration) -> None:
    """couch2pg is checked on both sides, and neither started nor given its settings."""
    moving.variables.update(couch2pg_give_login=True, couch2pg_password_hash="scram-sha-256")
    run = moving.run("rehearse")
    assert run.code == 0, run.output
    moving.check_secrets(run.output)
    assert PASSWORD not in run.output
    (name,) = (path.name for path in moving.state.parent.glob("*_rehearsal_*"))
    record = json.loads((moving.state.parent / name / "record.json").read_text(encoding="utf-8"))
    assert record["phases"]["rehearse"]["result"]["outcome"] == "done"
    findings = record["phases"]["preflight"]["result"]
    assert "couch2pg sync" in {entry["name"] for entry in findings["source"]}
    assert "couch2pg checkpoints" in {entry["name"] for entry in findings["target"]}
    assert not Path(moving.host_variables["target"]["couch2pg_app"]["env_file"]).exists()
    assert moving.database not in moving.databases()
    moving.succeed()
