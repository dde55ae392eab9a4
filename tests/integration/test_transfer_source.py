# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dump returns what the transfer needs to know of the source, and only where it holds does the transfer make no call for it."""

from __future__ import annotations

import getpass
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from support import driver
from support.cases import rarely
from support.migration import ROOT, Migration, Run
from support.modules import login, run_module

# Alters the archive whose folder it gets, as told by the second argument.
ALTER = """
import pathlib, sys
archive, what = pathlib.Path(sys.argv[1]), sys.argv[2]
path = archive / "evidence.json" if what == "file" else archive / "manifest.json"
text = path.read_text()
place = text.index('"sha256": "') + 11 if what == "manifest" else len(text) - 3
path.write_text(text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :])
"""


def called(run: Run) -> bool:
    """Whether the transfer examined the archive on the source with a call of its own."""
    (word,) = re.findall(r"^TASK \[.*Look at the archive on the source\] .*\n(\w*)", run.output, re.MULTILINE)
    return bool(word != "skipping")


def apart(migration: Migration) -> None:
    """Source and target have no folder in common, so that the archive has to go through the controller."""
    migration.variables["couch2pg_transfer_way"] = "relay"
    migration.host_variables["target"] = {
        "couch2pg_staging_dir": str(migration.folder / "target staging"),
        "couch2pg_state_dir": str(migration.folder / "target state"),
    }


def patient(migration: Migration) -> None:
    """The dump ends while its module waits, also on a busy machine."""
    migration.variables["couch2pg_progress_seconds"] = 60


def test_the_dump_returns_what_the_transfer_would_find(migration: Migration) -> None:
    module, options = driver.role_options(migration, "dump")
    options = {**login(migration.source, migration.database), **options}
    record = {"phase": "dump", "host": "old", "kept_on": "old", "database": migration.database}
    predicted = run_module(module, options, check=True)
    assert not predicted.get("failed")
    assert "transfer_source" not in predicted
    assert "transfer_source" not in run_module(module, {**options, "job_wait": 0.0})
    first = run_module(module, {**options, "record": record})
    place = {name: options[name] for name in ("migration_id", "state_dir")}
    found = run_module("transfer_info", {**place, "archive": first["archive"]})["source"]
    assert first["transfer_source"] == found
    assert (found["archive"], found["user"]) == (str(migration.archive), getpass.getuser())
    again = run_module(module, {**options, "record": record})
    assert not again["changed"]
    assert again["transfer_source"] == found
    assert run_module(module, options, check=True)["transfer_source"] == found
    # Neither the record nor the job keeps it: what keeps sshd from serving the archive may change.
    kept = migration.record["phases"]["dump"]["result"]
    assert kept["archive"] == found["archive"]
    for path in (migration.state / "record.json", migration.state / "jobs" / "dump" / "result.json"):
        assert "obstacles" not in path.read_text(encoding="utf-8")


def test_a_migration_makes_no_call_for_it(migration: Migration) -> None:
    patient(migration)
    phases = ("--tags", "dump,transfer")
    first = migration.succeed(*phases)
    assert not called(first)
    assert "The archive's way is local: source and target see the same archive" in first.output
    entry = migration.record["phases"]["transfer"]
    assert (entry["status"], entry["result"]["way"]) == ("done", "local")
    assert "transfer_source" not in migration.record["phases"]["dump"]["result"]
    again = migration.succeed(*phases)
    assert not called(again)
    assert again.changed == 0
    # Without a dump in the same run, and for another user than that of the dump, it is made.
    assert called(migration.succeed("--tags", "transfer"))
    user = getpass.getuser()
    assert called(migration.succeed(*phases, "-e", f"couch2pg_transfer_user={user}"))


def test_the_user_is_that_of_the_dump(migration: Migration) -> None:
    patient(migration)
    become = {"couch2pg_become": True, "couch2pg_become_user": getpass.getuser()}
    migration.host_variables["source"] = become
    run = run_play(migration)
    assert run.code == 0, run.output
    assert not called(run)
    # Another one may not be able to read the archive, and the transfer stops.
    run = run_play(migration, {"ansible.builtin.set_fact": {**become, "couch2pg_become_user": "daemon"}})
    assert called(run)
    assert run.code


def run_play(migration: Migration, between: dict[str, Any] | None = None, hosts: bool = True) -> Run:
    """Dump and transfer in a playbook of one's own, with a task on the source in between."""
    migration.variables["couch2pg_record_host"] = "target"
    source = {"gather_facts": False, "hosts": "couch2pg_source"}
    transfer = {"role": "cht.couch2pg.transfer", "vars": {"transfer_source_host": "source"}}
    plays = [
        *([{"ansible.builtin.import_playbook": str(ROOT / "playbooks" / "hosts.yml")}] if hosts else []),
        {**source, "roles": ["cht.couch2pg.dump"]},
        {**source, "tasks": [between] if between else []},
        {"gather_facts": False, "hosts": "couch2pg_target", "roles": [transfer]},
    ]
    (migration.folder / "play.yml").write_text(json.dumps(plays), encoding="utf-8")
    return migration.run(str(migration.folder / "play"))


def test_the_role_used_alone_makes_the_call(migration: Migration) -> None:
    patient(migration)
    run = run_play(migration, hosts=False)
    assert (run.code, run.warnings) == (0, []), run.output
    assert called(run)


@pytest.mark.parametrize(
    ("what", "shared", "sentence"),
    [
        ("file", False, "Transferred files have another SHA-256 than in the manifest: evidence.json."),
        ("manifest", False, "The archive on the source was replaced during this transfer"),
        rarely("file", True, "evidence.json"),
        ("manifest", True, "is not the one that this migration dumped: the SHA-256 of its manifest is"),
    ],
)
def test_an_archive_that_was_altered_since_the_dump_is_refused(
    migration: Migration, what: str, shared: bool, sentence: str
) -> None:
    patient(migration)
    if not shared:
        apart(migration)
    script = migration.folder / "alter.py"
    script.write_text(ALTER, encoding="utf-8")
    run = run_play(migration, {"ansible.builtin.command": f"{sys.executable} {script} {migration.archive} {what}"})
    assert run.code
    assert not called(run)
    assert sentence in run.message, run.output
    state = migration.folder / ("state" if shared else "target state") / migration.name
    record = json.loads((state / "record.json").read_text(encoding="utf-8"))
    assert record["phases"]["transfer"]["status"] == "failed"
    assert shared or not (migration.folder / "target staging" / migration.name).exists()


def test_the_way_needs_the_name_of_the_source(tmp_path: Path) -> None:
    options = {"migration_id": "test", "state_dir": str(tmp_path), "archive": str(tmp_path / "archive")}
    for way in ("direct", "relay"):
        refused = run_module("transfer_info", {**options, "source": {}, "way": way})
        assert (refused["code"], refused["msg"]) == (
            "source_missing",
            f"With the way {way}, couch2pg_transfer_source_host must name the source as the inventory has it.",
        )
