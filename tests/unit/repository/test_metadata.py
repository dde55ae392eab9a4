# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection says about itself in more than one place is the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))
ACTIONS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("[!_]*.py"))


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_action_group_names_every_module() -> None:
    """module_defaults for group/cht.couch2pg.couch2pg must reach all of them."""
    assert load("meta/runtime.yml").get("action_groups", {}).get("couch2pg", []) == MODULES


def test_action_plugins_have_modules() -> None:
    """The module is where an action's documentation, and its work on the managed host, live."""
    assert sorted(set(ACTIONS) - set(MODULES)) == []


def test_requirements_are_the_dependencies() -> None:
    requirements = {entry["name"]: entry["version"] for entry in load("requirements.yml")["collections"]}
    assert requirements == load("galaxy.yml")["dependencies"]


def test_no_sanity_test_is_ignored() -> None:
    assert list((ROOT / "tests" / "sanity").glob("ignore*.txt")) == []
