# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the move of a real couch2pg: the way back, and cleanup; what is refused, what is done, and that twice is once."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.cleanup import dropping
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from jsonschema import Draft202012Validator
from support import seed
from support.cases import rarely
from support.couchdb import CouchDB
from support.following import folder_of, following, supervise
from support.migration import ROOT, Migration, Run, column, execute

PASSWORD = "back & forth / 1"


@pytest.fixture
def couchdb(tmp_path: Path) -> Iterator[CouchDB]:
    with CouchDB(tmp_path / "couchdb") as server:
        server.put("medic", [{"_id": f"report {number}", "type": "data_record"} for number in range(40)])
        yield server


@pytest.fixture
def moved(migration: Migration, couchdb: CouchDB) -> Iterator[Migration]:
    """couch2pg was moved; on the target, a database of the same name was there before."""
    seed.create_database(migration.target, migration.database)
    execute(migration.target, "CREATE TABLE before (id int)", migration.database)
    with following(migration, couchdb, PASSWORD):
        migration.variables.update(
            couch2pg_give_login=True,
            couch2pg_password_hash="scram-sha-256",
            couch2pg_reconcile=False,
            couch2pg_replace_existing=True,
            # couch2pg runs each second.
            couch2pg_sync_timeout=10,
        )
        migration.succeed()
        yield migration


def play(migration: Migration, playbook: str, *arguments: str) -> Run:
    """A run that must end well, without a warning, and without a password in what it says."""
    run = migration.run(playbook, *arguments)
    assert run.code == 0, run.output
    assert not run.warnings, run.output
    assert PASSWORD not in run.output
    migration.check_secrets(run.output)
    schema = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))
    assert list(Draft202012Validator(schema).iter_errors(migration.record)) == []
    return run


@pytest.mark.parametrize("thoroughly", [False, rarely(True)])
def test_rollback(moved: Migration, thoroughly: bool) -> None:
    (replaced,) = [name for name in moved.databases() if "_replaced_" in name and name.startswith(moved.database)]
    dashboard = moved.folder / "dashboard.conf"
    dashboard.write_text("source")
    if thoroughly:
        step = {"name": "dashboard", "file": {"path": str(dashboard), "content": "target"}}
        moved.variables["couch2pg_cutover_steps"] = [step]
        play(moved, "cutover")
        assert dashboard.read_text() == "target"
    before = moved.databases(), moved.record

    # Nobody goes back to a source that isn't fed.
    supervise("stop", folder_of(moved, "source"))
    execute(moved.source, "UPDATE couchdb_progress SET seq = '1' WHERE seq::int > 1", moved.database)
    checked = play(moved, "rollback", "--check", "--diff")
    assert "Check mode: nothing was changed. Without --check, the run takes these steps:" in checked.output
    assert checked.planned == [
        "on source: start couch2pg, and wait until it is up to date with CouchDB",
        *(["on the controller: point dashboard back at the source: dashboard"] if thoroughly else []),
        "on target: stop couch2pg, also for when the host boots",
        f"on target: rename the database {moved.database} to {moved.database}_rolled_back_<time>",
        f"on target: rename the database {replaced} to {moved.database}",
    ]
    assert (moved.databases(), moved.record) == before
    assert supervise("status", folder_of(moved, "target")) == 0

    # A damaged file is no reason to lose the way back.
    (moved.state / "promoted.json").write_text("{")
    sentence = moved.fail(playbook="rollback")
    subprocess.run(["bash", "-c", re.findall(r"cd .*", sentence)[0]], check=True)

    run = play(moved, "rollback")
    assert run.changed > 0
    assert dashboard.read_text() == "source"
    assert supervise("status", folder_of(moved, "source")) == 0
    assert supervise("status", folder_of(moved, "target")) != 0
    result = moved.record["phases"]["rollback"]["result"]
    assert result["restored"] == replaced
    assert result["kept_as"] in moved.databases()
    assert replaced not in moved.databases()
    assert column(moved.target, "SELECT count(*) FROM before", moved.database) == [0]
    assert column(moved.target, "SELECT count(*) FROM couchdb", result["kept_as"])[0] > 0
    assert result["source"]["running"]
    assert result["source"]["behind"] == 0
    assert "ROLLED BACK" in run.output

    again = play(moved, "rollback")
    assert again.changed == 0, again.output
    assert "rolled back at" in play(moved, "status").output
    if not thoroughly:
        return
    sentence = moved.fail()
    assert "was rolled back" in sentence
    assert "couch2pg_migration_id" in sentence
    moved.name = "second"
    moved.succeed()
    assert moved.record["phases"]["handover"]["status"] == "done"
    assert result["kept_as"] in moved.databases()


def words(step: str, **more: Any) -> list[str]:
    """The operator's word, and what else a step wants to know."""
    return ["-e", json.dumps({"couch2pg_cleanup": step, **more})]


def printed(sentence: str, what: str) -> list[str]:
    """The arguments of the command with which a message about ``what`` ends."""
    assert what in sentence
    command = sentence.split("ansible-playbook cht.couch2pg.cleanup -i inventory.yml ")
    assert len(command) == 2, sentence
    return shlex.split(command[1])


def unchanged(migration: Migration, playbook: str, *arguments: str) -> str:
    """What a run says that must end well and change nothing."""
    run = play(migration, playbook, *arguments)
    assert run.changed == 0, run.output
    return run.output


ASK = """
- hosts: couch2pg_target
  gather_facts: false
  vars: {cleanup_source_host: source, cleanup_target_host: target}
  tasks:
    - ansible.builtin.include_tasks: case.yml
      loop: "{{ cases }}"
      loop_control: {loop_var: case}
"""
CASE = """
- block:
    - ansible.builtin.include_role: {name: "cht.couch2pg.{{ case.role }}", tasks_from: check}
      vars:
        cleanup_step: "{{ case.step | default('archives') }}"
        cleanup_confirm_database: "{{ case.database | default('') }}"
        cleanup_confirm_host: "{{ case.host | default('') }}"
        cleanup_last_archive: "{{ case.last_archive | default('') }}"
    - ansible.builtin.debug: {msg: "<<permitted>>"}
  rescue:
    - ansible.builtin.debug: {msg: "<<{{ ansible_failed_result.msg }}>>"}
"""


def asked(migration: Migration, *cases: dict[str, str]) -> list[str]:
    """What the question says with which a run begins, before anything is changed: one sentence a case."""
    before = migration.record, migration.databases()
    for name, text in (("ask", ASK), ("case", CASE)):
        (migration.folder / f"{name}.yml").write_text(text, encoding="utf-8")
    run = migration.run(str(migration.folder / "ask"), "-e", json.dumps({"cases": cases}))
    assert run.code == 0, run.output
    assert (migration.record, migration.databases()) == before
    found = re.findall(r'"msg": "<<(.*)>>"', run.output)
    assert len(found) == len(cases), run.output
    return found


def would(migration: Migration, step: str, **more: Any) -> list[str]:
    """What a cleanup in check mode says that it would do."""
    return play(migration, "cleanup", *words(step, **more), "--check", "--diff").planned


def check_words(moved: Migration) -> None:
    """Nothing is removed without its own word, and the source only with every name."""
    drop = {"role": "cleanup", "step": "source_database", "host": "source", "database": moved.database}
    said = asked(
        moved,
        {"role": "cleanup", "step": "everything"},
        {"role": "cleanup", "step": "source_couch2pg"},
        {**drop, "last_archive": "true", "host": "target"},
        {**drop, "last_archive": "true", "database": "cht"},
        drop,
    )
    for sentence, expected in zip(
        said,
        (
            "value of cleanup_step must be one of",
            # Nothing was cut over.
            "dashboards were not pointed at the target",
            "set couch2pg_cleanup_database",
            "set couch2pg_cleanup_database",
            "Decide first",
        ),
    ):
        assert expected in sentence


@pytest.mark.parametrize("thoroughly", [False, rarely(True)])
def test_cleanup(moved: Migration, couchdb: CouchDB, thoroughly: bool) -> None:
    def refused(step: str, **more: Any) -> str:
        before = moved.record, moved.databases()
        sentence = moved.fail(*words(step, **more), playbook="cleanup")
        assert (moved.record, moved.databases()) == before
        return sentence

    def done(*arguments: str) -> None:
        play(moved, "cleanup", *arguments)
        if thoroughly:
            unchanged(moved, "cleanup", *arguments)

    check_words(moved)
    confirmed = {
        "couch2pg_cleanup_database": moved.database,
        "couch2pg_cleanup_host": "source",
        "couch2pg_cleanup_last_archive": True,
    }
    if thoroughly:
        assert "dashboards were not pointed at the target" in refused("source_couch2pg")
    moved.variables["couch2pg_no_dashboards"] = True
    stop = printed(refused("source_database", **confirmed), "couch2pg on the source still runs")

    # The target lags behind: it may not lose its source.
    supervise("stop", folder_of(moved, "target"))
    couchdb.put("medic", [{"_id": f"late {number}", "type": "data_record"} for number in range(3)])
    behind = refused("source_couch2pg", couch2pg_sync_timeout=1)
    assert "it doesn't run" in behind
    assert "behind CouchDB by" in behind
    supervise("start", folder_of(moved, "target"))

    if thoroughly:
        assert would(moved, "source_couch2pg") == ["on source: stop couch2pg, also for when the host boots"]
        assert supervise("status", folder_of(moved, "source")) == 0
    done(*stop)
    assert supervise("status", folder_of(moved, "source")) != 0

    done(*words("archives"))
    assert not moved.archive.exists()
    assert not (moved.state / "jobs").exists()
    if thoroughly:
        # The migration stays done: nothing is watched again, and no credentials are written again.
        again = unchanged(moved, "migrate")
        assert "archive  removed by cleanup; it was" in again
        with closing(moved.source.connect(moved.database)):
            assert "is still used by postgres" in refused("source_database", **confirmed)
        assert would(moved, "source_database", **confirmed) == [
            f"on source: dump the database {moved.database} a last time",
            f"on source: drop the database {moved.database}",
        ]
        assert moved.database in source_databases(moved)
        interrupted_drop(moved)
    done(*printed(asked(moved, {"role": "cleanup", "step": "source_database"})[0], "set couch2pg_cleanup_database"))
    assert [name for name in source_databases(moved) if name.startswith(moved.database)] == []
    assert moved.database in moved.databases()
    last = moved.archive.with_name(f"{moved.name}_last")
    assert (last / "manifest.json").exists()
    (dropped,) = moved.record["phases"]["cleanup"]["result"]["source_database"].values()
    assert dropped["last_archive"] == str(last)
    check_after_the_drop(moved)


def check_after_the_drop(moved: Migration) -> None:
    again = unchanged(moved, "migrate")
    assert "archive  removed by cleanup; it was" in again
    assert "was dropped here after its migration (couch2pg_cleanup: source_database)" in again
    # Nothing else is asked of it, neither its schema nor how far couch2pg is.
    assert "FAILURE" not in again

    # There is nothing to go back to any more.
    assert "a rollback is not possible any more" in asked(moved, {"role": "rollback"})[0]

    record = moved.state / "record.json"
    record.write_text(record.read_text(encoding="utf-8").replace('"status": "done"', '"status": "failed"', 1))
    assert "was edited outside of this collection" in asked(moved, {"role": "cleanup"})[0]


LAST_DUMP = """
- hosts: couch2pg_source
  gather_facts: false
  roles:
    - {role: cht.couch2pg.dump, dump_migration_id: "{{ couch2pg_migration_id }}_last"}
"""


def interrupted_drop(moved: Migration) -> None:
    """As a cleanup leaves the source that is killed while the server drops the database, which is dumped by then."""
    (moved.folder / "last.yml").write_text(LAST_DUMP, encoding="utf-8")
    assert moved.run(str(moved.folder / "last")).code == 0
    name = f"{moved.database}_dropping_20261123T221530"
    found = f"FROM pg_database WHERE datname = '{moved.database}'"
    (oid,), (identity,) = (
        column(moved.source, sql)
        for sql in (f"SELECT oid::int {found}", "SELECT system_identifier::text FROM pg_control_system()")
    )
    write_json(moved.state / dropping.DROPPED, {"oid": oid, "identity": identity, "name": name})
    execute(moved.source, f'ALTER DATABASE "{moved.database}" RENAME TO "{name}"')
    execute(moved.source, f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'")
    shutil.rmtree(Path(*column(moved.source, "SHOW data_directory")) / "base" / str(oid))


def source_databases(migration: Migration) -> list[str]:
    return column(migration.source, "SELECT datname FROM pg_database")
