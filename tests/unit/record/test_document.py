# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record as phases are added to it."""

from __future__ import annotations

from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document


def test_a_phase_that_says_the_same_again_changes_nothing() -> None:
    result = {
        "changed": True,
        "rows": 5,
        "job": {"progress": {}},
        "invocation": {},
        "transfer_source": {"obstacles": []},
    }
    entry = record_document.make_entry("old", result)
    assert entry == {"status": "done", "host": "old", "error": None, "result": {"rows": 5}}
    first = record_document.merge(None, "m", "cht", "dump", entry, "2026-01-01T00:00:00Z")
    assert record_document.merge(first, "m", "cht", "dump", entry, "2026-01-02T00:00:00Z") is first
    failed = record_document.make_entry("old", {"failed": True, "msg": "No.", "code": "no"})
    second = record_document.merge(first, "m", "cht", "dump", failed, "2026-01-02T00:00:00Z")
    assert [event["status"] for event in second["history"]] == ["done", "failed"]


def test_a_failure_after_the_promotion_does_not_hide_what_was_proved() -> None:
    record, failed = None, record_document.make_entry("new", {"failed": True, "msg": "No.", "code": "no"})
    for phase in ("restore", "promote"):
        entry = record_document.make_entry("new", {"oid": 5})
        record = record_document.merge(record, "m", "", phase, entry, "2026-01-01T00:00:00Z")
    assert record is not None
    assert record_document.merge(record, "m", "cht", "restore", failed, "2026-01-02T00:00:00Z") is record
    # What was never done, and what comes after the promotion, is written down.
    for phase in ("verify", "handover"):
        after = record_document.merge(record, "m", "cht", phase, failed, "2026-01-02T00:00:00Z")
        assert (after["phases"][phase]["status"], after["database"]) == ("failed", "cht")
