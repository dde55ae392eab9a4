# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the record permits, and that one edited by hand permits nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.record import document as record_document
from ansible_collections.cht.couch2pg.plugins.module_utils.record import permission

MOVED = {
    "restore": {"oid": 5},
    "verify": {"oid": 5},
    "promote": {"oid": 5, "name": "cht"},
    "handover": {"health": {}},
}
STATE = Path("/srv/state/cht")
ALL = (
    permission.verified,
    permission.promoted,
    permission.healthy,
    permission.dashboards_same,
    permission.cut_over,
    permission.not_rolled_back,
)


def make(*results: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A record as phases one after the other write it."""
    document = None
    for number, (phase, result) in enumerate([*MOVED.items(), *results]):
        entry = record_document.make_entry("target", result)
        document = record_document.merge(document, "cht", "cht", phase, entry, f"2026-11-25T21:00:{number:02}Z")
    assert document is not None
    return document


def refusal(document: dict[str, Any] | None, *needs: permission.Need) -> MigrationError:
    with pytest.raises(MigrationError) as raised:
        permission.require(document, STATE, *needs)
    return raised.value


def test_everything_is_there() -> None:
    moved = make(("dashboards", {"passed": True}), ("cutover", {"side": "target"}))
    assert permission.require(moved, STATE, *ALL) is moved


def test_everything_that_is_lacking_is_told() -> None:
    error = refusal(make(("dashboards", {"passed": False}), ("cutover", {"side": "source"}), ("rollback", {})), *ALL)
    assert error.code == "not_permitted"
    assert len(error.details["reasons"]) == 3
    begun = record_document.merge(
        None, "cht", "cht", "dump", record_document.make_entry("source", {}), "2026-11-25T21:00:00Z"
    )
    assert len(refusal(begun, *ALL).details["reasons"]) == 4
    missing = refusal(None)
    assert missing.code == "record_missing"
    assert "The migration 'cht' has no record in /srv/state/cht, so" in missing.message
    assert missing.message.endswith(" (cat cht.json >/srv/state/cht/record.json).")


def test_a_phase_that_failed_later_is_not_done() -> None:
    error = refusal(make(("handover", {"failed": True, "msg": "lost"})), permission.healthy)
    (reason,) = error.details["reasons"]
    assert reason.startswith(
        "couch2pg on the target was not verified to be healthy (run ansible-playbook cht.couch2pg.migrate "
    )


def test_couch2pg_that_was_not_moved_need_not_be_healthy() -> None:
    alone = make()
    del alone["phases"]["handover"]
    alone["history"] = [event for event in alone["history"] if event["phase"] != "handover"]
    alone["seal"] = record_document.seal(alone)
    assert permission.require(alone, STATE, permission.healthy_where_moved) is alone
    (reason,) = refusal(alone, permission.couch2pg_moved).details["reasons"]
    assert "set couch2pg_cutover_without_couch2pg: true" in reason
    lost = make(("handover", {"failed": True, "msg": "lost"}))
    assert len(refusal(lost, permission.healthy_where_moved).details["reasons"]) == 1


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document["phases"]["verify"].update(status="failed"),
        lambda document: document["phases"].pop("handover"),
        lambda document: document["phases"]["promote"].update(result={"oid": 6}),
        lambda document: document["phases"]["handover"]["result"].update(health={"runs": 1}),
        lambda document: document["phases"].update(cutover=document["phases"]["handover"]),
        lambda document: document["phases"].update(verify=None),
        lambda document: document["history"].pop(),
        lambda document: document.pop("history"),
        lambda document: document.pop("seal"),
        lambda document: document.update(database="another"),
    ],
)
def test_an_edited_record_permits_nothing(edit: Any) -> None:
    document = copy.deepcopy(make())
    edit(document)
    assert refusal(document).code == "record_altered"
    if "history" in document and document["phases"].get("verify"):
        # Later entries don't restore the seal.
        later = record_document.merge(
            document, "cht", "cht", "cutover", record_document.make_entry("target", {}), "2026-11-25T22:00:00Z"
        )
        assert refusal(later).code == "record_altered"
