# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module preflight for one side, and reads its findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .modules import login, run_module

if TYPE_CHECKING:
    from .clusters import Cluster


def look(place: dict[str, Any], cluster: Cluster, database: str, **options: Any) -> dict[str, Any]:
    """The source's side."""
    return run_module("preflight", {**login(cluster, database), **place, "side": "source", **options})


def look_at_target(
    place: dict[str, Any], cluster: Cluster, database: str, facts: dict[str, Any], **options: Any
) -> dict[str, Any]:
    given = {**login(cluster, database), **place, "side": "target", "source": facts, "incoming": f"{database}_incoming"}
    return run_module("preflight", {**given, **options})


def finding(result: dict[str, Any], name: str) -> dict[str, Any]:
    found = [entry for entry in result["findings"] if entry["name"] == name]
    assert len(found) == 1, f"{name}: {result['findings']}"
    return dict(found[0])


def failures(result: dict[str, Any]) -> list[str]:
    """Names of the findings that are failures."""
    return [entry["name"] for entry in result["findings"] if entry["status"] == "failure"]


def schema_of(place: dict[str, Any], cluster: Cluster, database: str, **options: Any) -> str:
    """The source's schema, as the target's side gets it."""
    given = {**place, **login(cluster, database), "side": "source", "read_schema": True, **options}
    return str(run_module("preflight", given)["schema"])
