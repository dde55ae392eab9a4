# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record as phases are added to it."""

from __future__ import annotations

from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document


def test_a_phase_that_says_the_same_again_changes_nothing() -> None:
    result = {"changed": True, "rows": 5, "job": {"progress": {}}, "invocation": {}}
    entry = record_document.make_entry("old", result)
    assert entry == {"status": "done", "host": "old", "error": None, "result": {"rows": 5}}
    first = record_document.merge(None, "m", "cht", "dump", entry, "2026-01-01T00:00:00Z")
    assert record_document.merge(first, "m", "cht", "dump", entry, "2026-01-02T00:00:00Z") is first
    failed = record_document.make_entry("old", {"failed": True, "msg": "No.", "code": "no"})
    second = record_document.merge(first, "m", "cht", "dump", failed, "2026-01-02T00:00:00Z")
    assert [event["status"] for event in second["history"]] == ["done", "failed"]
