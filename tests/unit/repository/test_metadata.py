# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection says about itself in more than one place is the same everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))
ACTIONS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("[!_]*.py"))


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


# What module_defaults can give to each action group.
GROUPS = {
    "migration": {"migration_id", "state_dir"},
    "postgres": {
        *("login_host", "login_port", "login_user", "login_password", "login_unix_socket"),
        *("ssl_mode", "ca_cert", "ssl_cert", "ssl_key", "connect_params", "maintenance_database", "login_container"),
    },
}


def block(path: Path, name: str) -> Any:
    """The YAML of a documentation block; sanity tests compare it with the module's options."""
    found = re.search(rf'^ *{name} = r"""(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found, path
    return yaml.safe_load(found[1])


def options(module: str) -> set[str]:
    """The options that a module takes."""
    documentation = block(ROOT / "plugins" / "modules" / f"{module}.py", "DOCUMENTATION")
    found = set(documentation["options"] or {}) if "options" in documentation else set()
    for fragment in documentation["extends_documentation_fragment"]:
        _namespace, _collection, name, *variant = fragment.split(".")
        path = ROOT / "plugins" / "doc_fragments" / f"{name}.py"
        found |= set(block(path, variant[0].upper() if variant else "DOCUMENTATION")["options"])
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_members_of_an_action_group_accept_its_options(group: str) -> None:
    """module_defaults of a group fail with "Unsupported parameters" in a member that lacks one."""
    members = load("meta/runtime.yml")["action_groups"][group]
    assert members == [module for module in MODULES if options(module) >= GROUPS[group]]


def test_there_is_no_other_action_group() -> None:
    assert set(load("meta/runtime.yml")["action_groups"]) == set(GROUPS)


def test_action_plugins_of_routed_modules_exist() -> None:
    routed = load("meta/runtime.yml")["plugin_routing"]["modules"]
    assert set(routed) <= set(MODULES)
    assert {entry["action_plugin"].split(".")[-1] for entry in routed.values()} <= set(ACTIONS)


def test_action_plugins_have_modules() -> None:
    """The module is where an action's documentation, and its work on the managed host, live."""
    assert sorted(set(ACTIONS) - set(MODULES)) == []


def test_modules_that_tasks_name_exist() -> None:
    """Also those in module_defaults, where Ansible ignores an unknown one."""
    groups = set(load("meta/runtime.yml")["action_groups"])
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("playbooks", "roles", "molecule", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".yml", ".md")
        for name in re.findall(r"cht\.couch2pg\.([a-z0-9_]+):", path.read_text("utf-8"))
        if name not in MODULES and name not in groups
    }
    assert unknown == set()


def test_dependencies_are_the_collections_that_shipped_content_uses() -> None:
    used = {
        found
        for folder in ("playbooks", "plugins", "roles")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yml", ".j2")
        # A module or plugin of another collection, as tasks and imports name it.
        for found in re.findall(
            r"(?m)^[- ]*((?:ansible\.(?!builtin|module_utils|plugins|errors)|community\.)\w+)\.\w+:",
            path.read_text("utf-8"),
        )
    }
    assert used == set(load("galaxy.yml")["dependencies"] or {})


def test_become_of_couch2pg_falls_back_on_that_of_the_database() -> None:
    """An inventory with couch2pg_become false means every host and user, unless couch2pg_app_become says otherwise."""
    wrong = [
        path.relative_to(ROOT).as_posix()
        for folder in ("playbooks", "roles")
        for path in (ROOT / folder).rglob("*.yml")
        if re.search(r"couch2pg_app_become\s*\|\s*default\((?!.*couch2pg_become)", path.read_text("utf-8"))
    ]
    assert wrong == []


def test_no_sanity_test_is_ignored() -> None:
    assert list((ROOT / "tests" / "sanity").glob("ignore*.txt")) == []
