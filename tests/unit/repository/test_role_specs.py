# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role says about its variables is what it does: specs and defaults are compared by value."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.utils.vars import merge_hash
from support import role_tables

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").glob("*") if path.is_dir())

Options = dict[str, dict[str, Any]]


def load(role: str, path: str) -> dict[str, Any]:
    file = ROOT / "roles" / role / path
    if not file.exists():
        return {}
    return DataLoader().load_from_file(str(file), trusted_as_template=True) or {}


def entry_points(role: str) -> dict[str, dict[str, Any]]:
    return load(role, "meta/argument_specs.yml").get("argument_specs", {})


def options(role: str) -> Options:
    """The options of every entry point together: they share one defaults/main.yml."""
    merged: Options = {}
    for entry_point in entry_points(role).values():
        merged = merge_hash(merged, entry_point.get("options", {}))
    return merged


def nested(options_: Options, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options_.items():
        yield prefix + name, option
        yield from nested(option.get("options", {}), f"{prefix}{name}.")


def rendered(role: str) -> dict[str, Any]:
    """The role's defaults as a play without any variable of its own sees them; what is omitted is None."""
    defaults = load(role, "defaults/main.yml")
    values = Templar(loader=DataLoader(), variables=defaults).template(defaults)
    return {name: values.get(name) for name in defaults}


def plain(value: Any) -> Any:
    """Without Ansible's tags, which make a type of their own of every str and int."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    for type_ in (bool, int, float, str):
        if isinstance(value, type_):
            return type_(value)
    return value


def test_roles_are_found() -> None:
    assert ROLES or not (ROOT / "roles").exists()


@pytest.mark.parametrize("role", ROLES)
def test_role_is_documented(role: str) -> None:
    assert (ROOT / "roles" / role / "README.md").is_file()
    assert "main" in entry_points(role)
    for name, entry_point in entry_points(role).items():
        assert entry_point.get("short_description"), name
        assert entry_point.get("description"), name
        assert (ROOT / "roles" / role / "tasks" / f"{name}.yml").is_file(), name


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_checks_the_variables_first(role: str) -> None:
    """A ``default()`` takes the place of a variable that uses an undefined one, such as the name of the database to roll back."""
    for name in entry_points(role):
        first = load(role, f"tasks/{name}.yml")[0]
        assert "cht.couch2pg.run_check" in first, name
        assert first["when"] == "'run_hosts' not in groups", name


@pytest.mark.parametrize("role", ROLES)
def test_every_option_has_type_and_description(role: str) -> None:
    for name, option in nested(options(role)):
        assert option.get("type"), name
        assert option.get("description"), name
        assert option["type"] != "list" or option.get("elements"), f"{name}: elements of the list"


@pytest.mark.parametrize("role", ROLES)
def test_options_begin_with_the_name_of_the_role(role: str) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_secrets_are_not_logged(role: str) -> None:
    exposed = [
        name
        for name, option in nested(options(role))
        if re.search(r"(password|secret|token|passphrase)$", name) and option.get("no_log") is not True
    ]
    assert exposed == []


@pytest.mark.parametrize("role", ROLES)
def test_specs_and_defaults_name_the_same_options(role: str) -> None:
    optional = {name for name, option in options(role).items() if not option.get("required")}
    assert set(load(role, "defaults/main.yml")) == optional


@pytest.mark.parametrize("role", ROLES)
def test_specs_and_defaults_have_equal_values(role: str) -> None:
    real = plain(rendered(role))
    said = plain({name: option.get("default") for name, option in options(role).items() if name in real})
    # As JSON, types count: 1, 1.0, "1" and true are four different defaults.
    assert {name: json.dumps(value) for name, value in said.items()} == {
        name: json.dumps(value) for name, value in real.items() if name in said
    }


@pytest.mark.parametrize("role", ROLES)
def test_shared_variables_are_described_once(role: str) -> None:
    folder = ROOT / "roles" / role
    specs = (folder / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    described = role_tables.described(folder)
    assert role_tables.with_descriptions(specs, described) == specs, "write them with: tests/tools/role_tables"
    if described:
        changed = {**described, next(iter(described)): "Another one: with a colon."}
        assert "Another one: with a colon." in role_tables.with_descriptions(specs, changed)


@pytest.mark.parametrize("role", ROLES)
def test_shared_variables_take_the_same_values(role: str) -> None:
    """Elements, choices and default are those of docs/variables.yml, where a default may be a phrase."""
    folder = ROOT / "roles" / role
    found, expected = {}, {}
    for name, variable in role_tables.shared(folder).items():
        known, option = role_tables.variables()[variable], role_tables.options_of(folder)[name]
        keys = ["elements", "choices", *(["default"] if " " not in str(known["default"]) else [])]
        expected[name] = [known.get(key) for key in keys]
        found[name] = [option.get(key) for key in keys]
    assert found == expected


@pytest.mark.parametrize("role", ROLES)
def test_the_example_of_the_readme_has_what_the_role_takes(role: str) -> None:
    readme = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    named = set(re.findall(rf"\b({role}_\w+):", example))
    assert named <= options(role).keys()
    entry = (re.findall(r"tasks_from: (\w+)", example) or ["main"])[0]
    required = {name for name, option in entry_points(role)[entry].get("options", {}).items() if option.get("required")}
    assert required <= named


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_lists_the_options_of_the_specs(role: str) -> None:
    readme = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    lines = role_tables.table(ROOT / "roles" / role)
    assert role_tables.with_table(readme, lines) == readme, "write the tables with: tests/tools/role_tables"
    assert [line for line in lines if line.endswith("|  |")] == [], "each variable needs an example in the last column"
