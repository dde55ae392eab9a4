# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ten lines of a record: the verdict first, then what is left to do."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cht.couch2pg.plugins.plugin_utils.record_summary import places, summary

ROOT = Path(__file__).resolve().parents[3]
RECORDED = json.loads((ROOT / "tests" / "recorded" / "record.json").read_text(encoding="utf-8"))


@pytest.fixture
def record() -> dict[str, Any]:
    return copy.deepcopy(RECORDED)


def test_a_migration_that_is_done(record: dict[str, Any]) -> None:
    lines = summary(record)
    assert " was complete and verified" in lines[0]
    assert ": DONE. The database " in lines[0]
    # A later run must not say that the target is still the same.
    assert lines[1].startswith("  verified ")
    assert not [line for line in lines if " same " in line]
    dump = record["phases"]["dump"]["result"]
    # In units of 1000, as everywhere.
    assert any(f"{dump['bytes'] / 1e6:.1f} MB from" in line for line in lines)


def shape(line: str) -> str:
    """The line with another time and other numbers, which have as many decimals."""
    line = re.sub(r"\d{4}-?\d\d-?\d\dT\d\d:?\d\d:?\d\d", "TIME", line)
    return re.sub(r"\d+(\.\d+)?", lambda found: "0" + re.sub(r"\d", "0", found[1] or ""), line)


def test_the_summary_in_the_readme_is_what_a_run_prints(record: dict[str, Any]) -> None:
    phases, health = record["phases"], {"runs_completed": 2, "changes": 40}
    reconciliation = {"documents_compared": {"medic": 51640}}
    handed_over = {"postgres": {"user": "couch2pg"}, "health": health, "reconciliation": reconciliation}
    phases["handover"] = {"status": "done", "error": None, "result": handed_over, "at": ""}
    for name, phase in phases.items():
        phase["host"] = "source" if name == "dump" else "target"
    phases["dump"]["result"]["archive"] = "/srv/staging/demo"
    phases["verify"]["result"] |= {"counted_at": "2026-11-25T21:06:50Z", "verified_at": "2026-11-25T21:07:11Z"}
    folder, record_place = (
        "/home/me/couch2pg-records",
        "/var/lib/postgresql/couch2pg-migration/demo/record.json on target",
    )
    written = {"markdown": f"{folder}/demo.md", "html": f"{folder}/demo.html", "record_copy": f"{folder}/demo.json"}
    printed = [*summary(record), *places(written, record_place)]
    (sample,) = re.findall(
        r"```text\n(Migration demo: .*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert [shape(line) for line in sample.splitlines()] == [shape(line) for line in printed]


def test_the_evidence_of_a_copy_is_on_the_target(record: dict[str, Any]) -> None:
    """Only an archive stays where it was dumped."""
    phases = record["phases"]
    phases["dump"]["host"], phases["restore"]["host"] = "old", "new"
    (archive,) = [line for line in summary(record) if line.startswith("  archive ")]
    assert " on old: " in archive
    del phases["transfer"]
    (copied,) = [line for line in summary(record) if line.startswith("  archive ")]
    assert " on new: " in copied


def test_empty_materialized_views_are_named(record: dict[str, Any]) -> None:
    record["phases"]["verify"]["result"]["notices"] = [f"The view {number} is empty." for number in range(5)]
    assert [line for line in summary(record) if line.startswith("  look at")] == [
        "  look at  The view 0 is empty.",
        "  look at  The view 1 is empty.",
        "  look at  The view 2 is empty.",
        "  look at  2 more materialized views, in the report",
    ]


def test_what_was_done_since_is_not_left_to_do(record: dict[str, Any]) -> None:
    phases = record["phases"]
    phases["restore"]["result"]["created_roles"] = ["couch2pg", "superset"]
    assert "  to do    give these roles their login and password on the target: couch2pg, superset" in summary(record)
    health = {"runs_completed": 1, "changes": 0}
    handed_over = {"postgres": {"user": "couch2pg"}, "health": health}
    phases["handover"] = {"status": "done", "host": "new", "error": None, "result": handed_over, "at": ""}
    phases["cleanup"] = {"status": "done", "host": "new", "error": None, "result": {"archives": {}}, "at": ""}
    lines = summary(record)
    assert "  to do    give these roles their login and password on the target: superset" in lines
    assert any(line.startswith("  archive  removed by cleanup; it was ") for line in lines)


def test_roles_that_an_earlier_migration_created_have_no_login_yet(record: dict[str, Any]) -> None:
    record["phases"]["restore"]["result"]["created_roles"] = ["superset"]
    statements = [f'ALTER ROLE "{name}" LOGIN' for name in ("superset", "clerk")] + ['ALTER ROLE "x" SUPERUSER']
    finding = {"name": "properties of roles", "status": "warning", "message": "", "details": {"statements": statements}}
    record["phases"]["preflight"]["result"]["target"].append(finding)
    assert "  to do    give these roles their login and password on the target: superset, clerk" in summary(record)


def test_one_that_stopped_says_why_first(record: dict[str, Any]) -> None:
    for phase in ("promote", "handover"):
        record["phases"].pop(phase, None)
    record["phases"]["verify"].update(status="failed", error={"msg": "Rows are missing.", "code": "differs"}, result={})
    assert summary(record)[:2] == [
        f"Migration {record['migration_id']}: STOPPED in verify.",
        "  Rows are missing.",
    ]


def test_one_that_was_rolled_back(record: dict[str, Any]) -> None:
    entry = {"status": "done", "host": "new", "error": None, "result": {"kept_as": "cht_rolled_back_1"}, "at": ""}
    record["phases"]["rollback"] = entry
    record["phases"]["restore"]["result"]["created_roles"] = ["couch2pg", "superset"]
    record["phases"]["verify"]["result"]["notices"] = ["The view population is empty."]
    lines = summary(record)
    assert "ROLLED BACK. The migrated database is kept as cht_rolled_back_1 on new." in lines[0]
    # Nothing else is to do or to look at on a target that nobody uses.
    (to_do,) = [line for line in lines if line.startswith(("  to do", "  look at", "  kept"))]
    assert to_do.endswith("ansible-playbook cht.couch2pg.migrate -i inventory.yml -e couch2pg_migration_id=demo_2")


@pytest.mark.parametrize(("outcome", "word"), [("done", "DONE"), ("abandoned", "ABANDONED")])
def test_a_rehearsal(record: dict[str, Any], outcome: str, word: str) -> None:
    for phase in ("promote", "handover"):
        record["phases"].pop(phase, None)
    values = {"outcome": outcome, "kept": False, "lines": ["one", "two"], "conclusions": ["So."]}
    # The fields are those that the role writes.
    written = yaml.safe_load((ROOT / "roles" / "rehearsal" / "vars" / "main.yml").read_text(encoding="utf-8"))
    result = {name: values.get(name) for name in written["__rehearsal_outcome"]}
    record["phases"]["rehearse"] = {"status": "done", "host": "new", "error": None, "result": result, "at": ""}
    lines = summary(record)
    assert lines[0].startswith(f"Rehearsal {record['migration_id']}: {word}.")
    assert "  copy     dropped" in lines
    assert any(line.startswith("  archive  removed at the end; it was ") for line in lines)
    assert lines[-1] == "  So."


def test_one_that_has_only_begun() -> None:
    assert summary({"migration_id": "m", "phases": {}}) == ["Migration m: IN PROGRESS."]
