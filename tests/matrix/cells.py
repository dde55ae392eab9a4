# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the support matrix consists of, and its results."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any, Literal, TypedDict

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "support-matrix.json"
SOURCES = tuple(range(10, 19))
TARGETS = tuple(range(13, 19))
# Oldest and newest Python of the controller and of managed hosts, as ansible-core's own support matrix has them, and the newest one that
# machines commonly have.
CORES = {
    "2.18": (("3.11", "3.13"), ("3.8", "3.13")),
    "2.19": (("3.11", "3.13"), ("3.8", "3.13")),
    "2.20": (("3.12", "3.13", "3.14"), ("3.9", "3.13", "3.14")),
    "2.21": (("3.12", "3.13", "3.14"), ("3.9", "3.13", "3.14")),
}
Status = Literal["passed", "failed", "not run"]


class Cell(TypedDict):
    """One combination and its outcome.

    ``versions`` is what was asked for, as text by name; ``found`` the exact versions that ran; ``seconds`` the duration of the
    migration; ``reason`` says why it failed or was not run.
    """

    kind: Literal["postgresql", "ansible"]
    versions: dict[str, str]
    status: Status
    found: dict[str, str]
    seconds: float
    reason: str


def all_versions() -> list[tuple[Literal["postgresql", "ansible"], dict[str, str]]]:
    """Every combination that must work."""
    pairs = [{"source": str(s), "target": str(t)} for t in TARGETS for s in SOURCES if s <= t]
    runs = [
        {"ansible-core": core, "controller": controller, "host": host}
        for core, (controllers, hosts) in CORES.items()
        for controller, host in zip(controllers, hosts)
    ]
    return [*(("postgresql", pair) for pair in pairs), *(("ansible", run) for run in runs)]


def load() -> list[Cell]:
    """The results so far."""
    cells: list[Cell] = json.loads(RESULTS.read_text(encoding="utf-8"))["cells"] if RESULTS.exists() else []
    return cells


def add(cell: Cell) -> None:
    """Put a result in the place of the one that it replaces; two runs may do so at the same time."""
    order = [versions for _kind, versions in all_versions()]
    with Path(__file__).open(encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cells = [old for old in load() if old["versions"] != cell["versions"] and old["versions"] in order]
        cells = sorted([*cells, cell], key=lambda one: order.index(one["versions"]))
        document: dict[str, Any] = {"made_by": "make matrix", "cells": cells}
        RESULTS.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
