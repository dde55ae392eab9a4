# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects, properties of the database and memberships of roles: what the source had and the target lacks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.verify.facts import (
    compare_memberships,
    compare_objects,
    compare_properties,
)

TABLE = {"owner": "a", "grants": ["a SELECT", "b SELECT"], "columns": ["x", "y"]}
PROPERTIES = {
    "owner": "a",
    "connection_limit": -1,
    "comment": None,
    "encoding": "UTF8",
    "lc_collate": "C",
    "lc_ctype": "C",
    "locale_provider": "i",
    "locale": "en_US",
    "grants": ["PUBLIC CONNECT"],
    "settings": ["work_mem=5MB", "gone=1"],
    "role_settings": {"b": ["work_mem=6MB"]},
}


def problems(
    found: dict[str, Any], moves: dict[str, str | None] | None = None, versions: tuple[int, int] = (160000, 180000)
) -> list[str]:
    source = {"table": {"public.t": TABLE}, "column": {"public.t.x": {"grants": ["b UPDATE"]}}}
    return [row["problem"] for row in compare_objects(source, found, moves or {}, versions)]


def test_an_archive_that_lost_an_object_an_owner_or_a_grant_is_noticed() -> None:
    column = {"public.t.x": {"grants": ["b UPDATE"]}}
    assert problems({"table": {"public.t": TABLE}, "column": column}) == []
    assert problems({"column": column}) == ["is missing in the archive"]
    assert problems({"table": {"public.t": TABLE}}) == ["is missing in the archive"]
    for change, problem in (
        ({"owner": "b"}, "has another owner in the archive"),
        ({"grants": ["a SELECT"]}, "has other grants in the archive"),
        ({"columns": ["x"]}, "has other columns in the archive"),
    ):
        assert problems({"table": {"public.t": {**TABLE, **change}}, "column": column}) == [problem]


def test_what_is_no_loss_is_no_difference() -> None:
    column = {"public.t.x": {"grants": ["b UPDATE"]}}
    assert problems({"table": {"public.t": {**TABLE, "columns": ["y", "x"]}}, "column": column}) == []
    newer = {**TABLE, "grants": [*TABLE["grants"], "a MAINTAIN"]}
    assert problems({"table": {"public.t": newer}, "column": column}) == []
    assert problems({"table": {"public.t": newer}, "column": column}, versions=(170000, 180000)) != []
    # A role that was revoked on purpose; what remains has no entry of its own.
    moved = {**TABLE, "grants": ["a SELECT"]}
    assert problems({"table": {"public.t": moved}}, {"b": None}) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"owner": "b"}, "owner"),
        ({"comment": "x"}, "comment"),
        ({"connection_limit": 5}, "connection limit"),
        ({"lc_ctype": "de_DE"}, "lc ctype"),
        ({"locale": "de"}, "locale"),
        ({"grants": []}, "grants"),
        ({"settings": ["work_mem=7MB"]}, "settings"),
        ({"role_settings": None}, "settings of role b"),
        ({"locale_rules": "&a < g"}, "locale rules"),
    ],
)
def test_each_property_of_the_database_is_compared(change: dict[str, Any], name: str) -> None:
    (found,) = compare_properties(PROPERTIES, {**PROPERTIES, "settings": ["work_mem=5MB"], **change}, ["gone=1"])
    assert (found["kind"], found["object"]) == ("database", name)


def test_a_locale_that_a_newer_server_writes_otherwise_is_the_same() -> None:
    assert compare_properties(PROPERTIES, {**PROPERTIES, "locale": "en-US"}, []) == []


def test_a_membership_between_roles_that_exist_is_not_lost() -> None:
    wanted = [{"name": "clerk", "member_of": ["readers", "gone"]}, {"name": "absent", "member_of": ["readers"]}]
    there = [{"name": "clerk", "member_of": []}, {"name": "everybody", "member_of": []}]
    (found,) = compare_memberships(wanted, there, {"readers": "everybody", "gone": None})
    assert found["problem"] == 'is not a member of everybody (remedy: GRANT "everybody" TO "clerk")'
    there[0]["member_of"] = ["everybody"]  # type: ignore[index]
    assert compare_memberships(wanted, there, {"readers": "everybody", "gone": None}) == []


def test_the_administrator_of_a_group_that_was_revoked_lacks_nothing() -> None:
    wanted = [{"name": "clerk", "member_of": ["gone", "readers"], "admin_of": ["gone", "readers"]}]
    there = [{"name": "clerk", "member_of": ["readers"], "admin_of": []}]
    (found,) = compare_memberships(wanted, there, {"gone": None})
    assert found["problem"] == 'may not grant readers (remedy: GRANT "readers" TO "clerk" WITH ADMIN OPTION)'


def test_a_membership_that_gives_more_is_another_one() -> None:
    wanted = [{"name": "clerk", "member_of": ["readers"], "member_options": {"readers": "INHERIT FALSE, SET TRUE"}}]
    there = [{"name": "clerk", "member_of": ["all"], "member_options": {"all": "INHERIT TRUE, SET TRUE"}}]
    (found,) = compare_memberships(wanted, there, {"readers": "all"})
    remedy = 'GRANT "all" TO "clerk" WITH INHERIT FALSE, SET TRUE'
    assert found["problem"] == f"is a member of all with other options (remedy: {remedy})"
    # A server before 16 has no such options.
    wanted[0]["member_options"] = None  # type: ignore[assignment]
    assert compare_memberships(wanted, there, {"readers": "all"}) == []
