# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in the groups of an inventory, and who does what."""

from __future__ import annotations

import pytest
from ansible_collections.cht.couch2pg.plugins.plugin_utils.host_groups import problems, resolve, with_both_couch2pg

RIGHT = {"all": ["a", "b"], "ungrouped": [], "couch2pg_source": ["a"], "couch2pg_target": ["b"]}


def test_a_right_inventory() -> None:
    assert problems(RIGHT) == []
    assert problems({"all": ["a"], "couch2pg_source": ["a"]}, partial=True) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"all": []}, ["The inventory has no host. Give it with -i"]),
        ({"couch2pg_source": []}, ["no host in the group couch2pg_source: add the server that the database is on now"]),
        (
            {"couch2pg_source": [], "couch2pg_sorce": ["a"]},
            ["no host in the group couch2pg_source, but its group couch2pg_sorce"],
        ),
        ({"couch2pg_target": ["b", "c"]}, ["The group couch2pg_target has 2 hosts (b, c)"]),
        ({"couch2pg_target": ["a"]}, ["The host a is in both couch2pg_source and couch2pg_target"]),
        ({"couch2pg_target": ["a"]}, ["of its server, and with its own couch2pg_app."]),
        ({"couch2pg_rehearsal": ["a"]}, ["The host a is in both couch2pg_source and couch2pg_rehearsal"]),
        ({"couch2pg_app_surce": ["c"]}, ["no host in the group couch2pg_app_source, but its group couch2pg_app_surce"]),
        ({"couch2pg_source": [], "couch2pg_target": []}, ["couch2pg_source", "couch2pg_target"]),
    ],
)
def test_a_mistake(changed: dict[str, list[str]], words: list[str]) -> None:
    found = problems({**RIGHT, **changed})
    assert len(found) == len(words)
    for sentence, word in zip(found, words):
        assert word in sentence


def is_open(host: str) -> bool:
    return host != "a"


def test_couch2pg_is_on_the_hosts_of_postgresql_unless_it_has_its_own() -> None:
    assert resolve(RIGHT, False, is_open)["run_apps"] == ["a", "b"]
    own = {**RIGHT, "couch2pg_app_source": ["c"], "couch2pg_rehearsal": ["d"]}
    assert resolve(own, False, is_open) == {
        "run_source": ["a"],
        "run_target": ["b"],
        "run_app_source": ["c"],
        "run_app_target": ["b"],
        "run_databases": ["a", "b", "d"],
        "run_search": ["b", "d"],
        "run_apps": ["c", "b", "d"],
        "run_hosts": ["a", "b", "d", "c"],
    }
    assert resolve(own, True, is_open)["run_target"] == ["d"]


@pytest.mark.parametrize(
    ("changed", "shared"),
    [
        ({}, []),
        ({"couch2pg_app_source": ["c"], "couch2pg_app_target": ["d"]}, []),
        ({"couch2pg_app_source": ["c"], "couch2pg_app_target": ["c"]}, ["c"]),
        ({"couch2pg_app_source": ["b"]}, ["b"]),
        ({"couch2pg_app_target": ["a"]}, ["a"]),
    ],
)
def test_a_host_with_couch2pg_before_and_after(changed: dict[str, list[str]], shared: list[str]) -> None:
    assert with_both_couch2pg({**RIGHT, **changed}) == shared
