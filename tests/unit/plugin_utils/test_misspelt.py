# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that nothing reads, and the names that were meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.cht.couch2pg.plugins.plugin_utils.misspelt import (
    find_misspelt,
    find_misspelt_extra,
    role_options,
)

REPOSITORY = Path(__file__).parents[3]
SHARED = {"couch2pg_database", "couch2pg_jobs"}
ROLES = {"dump": {"dump_jobs", "dump_format"}, "record": {"record_host"}}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("couch2pg_databse", "did you mean couch2pg_database?"),
        ("couch2pg_zzz", "see docs/variables.yml"),
        ("dump_job", "did you mean dump_jobs?"),
        ("couchpg_database", "did you mean couch2pg_database?"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest(name: str, sentence: str) -> None:
    (found,) = find_misspelt([name, "couch2pg_jobs", "ansible_host"], SHARED, ROLES)
    assert name in found
    assert sentence in found


def test_options_of_every_entry_point_of_a_role_are_known() -> None:
    main, capture = {"options": {"dump_jobs": {}}}, {"options": {"dump_settings": {}}}
    assert role_options({"argument_specs": {"main": main, "capture": capture, "stop": {}}}) == {
        "dump_jobs": {},
        "dump_settings": {},
    }


@pytest.mark.parametrize("name", ["handover_progress", "handover_source_app_host", "rehearsal_staging_dir"])
def test_documented_variables_are_known(name: str) -> None:
    """They are options of other entry points than main."""
    role = name.split("_", maxsplit=1)[0]
    path = Path(__file__).parents[3] / "roles" / role / "meta" / "argument_specs.yml"
    assert name in role_options(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_words_of_other_people_are_left_alone() -> None:
    assert find_misspelt(["record_ttl", "dump_schedule", "dumpling", "couch2pg"], SHARED, ROLES) == []


@pytest.mark.parametrize(
    ("name", "meant"), [("database", "database"), ("databse", "database"), ("cuch2pg_jobs", "jobs")]
)
def test_an_extra_variable_without_its_prefix(name: str, meant: str) -> None:
    assert find_misspelt_extra([name], SHARED, ROLES) == [
        f"The variable {name} is unknown: did you mean couch2pg_{meant}?"
    ]


def test_other_extra_variables_are_left_alone() -> None:
    assert find_misspelt_extra(["couch2pg_jobs", "dump_jobs", "ansible_user", "site_tls"], SHARED, ROLES) == []


def test_what_roles_set_is_not_taken_for_a_misspelt_option() -> None:
    """Playbooks that are imported one after the other check the variables again, with what the earlier ones have set."""
    specs = REPOSITORY.glob("roles/*/meta/argument_specs.yml")
    roles = {path.parents[1].name: role_options(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in specs}
    names: set[str] = set()
    for path in REPOSITORY.glob("roles/*/tasks/*.yml"):
        text = path.read_text(encoding="utf-8")
        names.update(re.findall(r"register: (\w+)", text))
        for block in re.findall(r"set_fact:\n((?: +.*\n)+)", text):
            names.update(re.findall(r"^ +(\w+):", block, re.MULTILINE))
    assert "handover_lacks_couch2pg" in names
    assert find_misspelt(names, set(), roles) == []
