# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearsals by their records: which one is resumed, what changed since, how long the migration will take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document
from ansible_collections.cht.couch2pg.plugins.module_utils.record.verified import HANDOVER_BEGUN, handover_begun
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal import rehearsals

SECONDS = {"dump": 40.0, "transfer": 10.0, "restore": 100.0, "refresh": 20.0, "verify": 30.0}


def table(name: str, rows: int, digest: str = "d") -> dict[str, Any]:
    return {"table": name, "rows": rows, "digest": digest}


def rehearsal(number: int = 1, outcome: str = "done", failed: str = "", **dump: Any) -> dict[str, Any]:
    """The record of one that got as far as ``outcome`` says: '' for one that is unfinished, 'begun' for one that has not verified."""
    name = f"cht_rehearsal_2026112{number}T010500"
    made: dict[str, Any] | None = None
    results: dict[str, dict[str, Any]] = {phase: {"seconds": seconds} for phase, seconds in SECONDS.items()}
    results["dump"] |= {"digest_method": "hash64", "rows": 3, "tables": [table("a", 3)], **dump}
    if outcome == "begun":
        del results["verify"]
    elif outcome:
        results["rehearse"] = {"outcome": outcome}
    if failed:
        entry = record_document.make_entry("target", {"failed": True, "msg": "No.", "code": "no"})
        made = record_document.merge(made, name, "cht", failed, entry, f"2026-11-2{number}T01:00:00Z")
    for phase, result in results.items():
        made = record_document.merge(
            made, name, "cht", phase, record_document.make_entry("target", result), f"2026-11-2{number}T01:05:00Z"
        )
    assert made is not None
    return made


def test_a_rehearsal_has_a_name_that_tells_of_its_migration() -> None:
    name = rehearsals.new_id("cht-2026", lambda: 0.0)
    assert name == "cht-2026_rehearsal_19700101T000000"
    assert rehearsals.rehearses(name) == "cht-2026"
    assert rehearsals.rehearses("cht-2026") is None
    assert rehearsals.rehearses("cht_rehearsal_1") is None


def test_only_rehearsals_of_this_migration_are_listed(tmp_path: Path) -> None:
    """A damaged record is told of, and the others are there all the same."""
    for number in (2, 1):
        made = rehearsal(number)
        folder = tmp_path / made["migration_id"]
        folder.mkdir()
        write_json(folder / "record.json", made)
    for other in (
        "cht",
        "cht_x_rehearsal_20261121T010500",
        "cht_rehearsal_20261125T010500",
        "cht_rehearsal_20261126T010500",
    ):
        (tmp_path / other).mkdir()
    (tmp_path / "cht_rehearsal_20261126T010500" / "record.json").write_text("{")
    found, problems = rehearsals.known(str(tmp_path), "cht")
    assert [entry["migration_id"] for entry in found] == [f"cht_rehearsal_2026112{number}T010500" for number in (1, 2)]
    assert len(problems) == 1
    assert "is damaged" in problems[0]


@pytest.mark.parametrize(
    ("last", "goes_on", "verified"),
    [("done", False, False), ("abandoned", False, False), ("begun", True, False), ("", True, True)],
)
def test_the_last_one_is_resumed_until_it_has_ended(last: str, goes_on: bool, verified: bool) -> None:
    records = [rehearsal(1, ""), rehearsal(2, last)]
    begun = rehearsals.unfinished(records)
    assert (begun is not None) is goes_on
    assert (begun is not None and rehearsals.is_verified(begun)) is verified


def test_the_next_run_is_told_whether_couch2pg_was_started(tmp_path: Path) -> None:
    made = rehearsal(1, "")
    folder = tmp_path / made["migration_id"]
    folder.mkdir()
    write_json(folder / "record.json", made)
    assert not rehearsals.overview(str(tmp_path), "cht")["next"]["handover_begun"]
    write_json(folder / HANDOVER_BEGUN, {"oid": 1})
    assert rehearsals.overview(str(tmp_path), "cht")["next"]["handover_begun"]
    assert [handover_begun(folder, oid) for oid in (1, 2)] == [True, False]


def test_what_changed_is_told_table_by_table() -> None:
    before = rehearsal(1, tables=[table("a", 3), table("b", 2), table("c", 1), table("d", 5)])
    after = rehearsal(2, tables=[table("a", 3), table("b", 7), table("c", 1, "e"), table("f", 1)])
    found = rehearsals.compare(before, after)
    assert [row["table"] for row in found["changed"]] == ["b", "c", "d", "f"]
    assert not found["same"]
    assert rehearsals.changes(found) == (
        "4 of 4 tables changed: b +5 rows (now 7), c has different content, d is gone, f is new"
    )
    assert rehearsals.compare(after, after)["same"]


def test_digests_of_two_methods_prove_nothing() -> None:
    found = rehearsals.compare(rehearsal(1), rehearsal(2, digest_method="md5"))
    assert not found["same"]
    assert "rows only" in rehearsals.changes(found)


def test_the_forecast_goes_by_what_ran_without_interruption() -> None:
    whole, broken = rehearsals.summary(rehearsal(1)), rehearsals.summary(rehearsal(2, failed="restore"))
    assert (whole["interrupted"], broken["interrupted"]) == (False, True)
    assert broken["failed_in"] is None
    longer = dict(whole, seconds=260.0)
    expected = rehearsals.forecast([whole, longer, broken])
    assert expected is not None
    assert (expected["least"], expected["seconds"], expected["most"]) == (200.0, 260.0, 260.0)
    assert (expected["dominant"], expected["rehearsals"]) == ("restore", 2)
    assert rehearsals.expectation(expected).startswith("about 4 min 20 s (3 min 20 s to 4 min 20 s in 2 rehearsals)")
    alone = rehearsals.forecast([broken])
    assert alone is not None
    assert rehearsals.expectation(alone).startswith("more than 3 min 20 s, ")
    assert rehearsals.forecast([rehearsals.summary(rehearsal(1, "abandoned"))]) is None


def test_the_forecast_goes_by_the_method_of_the_last_one() -> None:
    archive, physical = rehearsal(1), rehearsal(2)
    physical["phases"]["preflight"] = {"status": "done", "result": {"method": {"method": "physical", "reason": ""}}}
    known = [rehearsals.summary(each) for each in (archive, physical)]
    expected = rehearsals.forecast(known)
    assert expected is not None
    assert (expected["method"], expected["rehearsals"], expected["seconds"]) == ("physical", 1, known[1]["seconds"])
    # Its evidence is taken within the restore, whose time has it already.
    assert known[0]["seconds"] - known[1]["seconds"] == known[0]["phases"]["dump"]
    assert "dump" not in known[1]["phases"]


def test_a_relay_is_measured_from_outside() -> None:
    """Its carrying is the controller's work, of which the phase itself tells nothing."""
    made = rehearsal()
    made["phases"]["transfer"]["result"]["way"] = "relay"
    made["phases"]["transfer"]["at"] = "2026-11-21T02:05:00Z"
    assert rehearsals.summary(made)["phases"]["transfer"] == 3600.0


@pytest.mark.parametrize(
    ("records", "status", "words"),
    [
        ([], "warning", "has not been rehearsed"),
        ([rehearsal(1, "")], "warning", "did not finish"),
        ([rehearsal(1)], "ok", "rehearsed once; the migration takes about 3 min 20 s"),
        ([rehearsal(1), rehearsal(2), rehearsal(3, "begun")], "ok", "rehearsed 2 times"),
    ],
)
def test_preflight_says_how_it_was_rehearsed(records: list[dict[str, Any]], status: str, words: str) -> None:
    found = rehearsals.finding(records, "cht")
    assert (found["name"], found["status"]) == ("rehearsal", status)
    assert words in found["message"]
    assert len(found["details"]["rehearsals"]) == len(records)


def test_one_that_is_about_to_end_is_told_of_as_ended() -> None:
    records = rehearsals.ended([rehearsal(1), rehearsal(2, "")], "done")
    assert [rehearsals.summary(entry)["outcome"] for entry in records] == ["done", "done"]
    assert rehearsals.conclusions(records)[0] == "Since the previous rehearsal: the same evidence in 1 table."
    assert rehearsals.lines(records)[1].startswith("2026-11-22T01:05:00Z done: 3 min 20 s (dump 40 s, transfer 10 s, ")


def test_the_seconds_of_the_views_are_those_of_the_last_whole_refresh() -> None:
    def refreshed(number: int, seconds: float, done_before: bool = False) -> Any:
        made = rehearsal(number)
        view = {"matview": "public.a", "rows": 1, "seconds": seconds, "done_before": done_before}
        made["phases"]["refresh"]["result"]["matviews"] = [view]
        return made

    records = [refreshed(1, 4.0), refreshed(2, 5.0), refreshed(3, 0.1, done_before=True), rehearsal(4, "begun")]
    assert rehearsals.matview_seconds(records) == {"public.a": 5.0}
    assert rehearsals.matview_seconds([rehearsal()]) == {}
