# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cutover changes, remembered beside the record before anything is changed: the way back, even after a kill.

It holds addresses and names as they were and will be. Passwords are not in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from ..common.errors import MigrationError
from ..host.files import expand, lock, read_json, write_json
from .changes import Change

FORMAT = 1
NAME = "cutover.json"
# Where the dashboards are: "between" while they are being changed, or when that was interrupted.
SIDES = ("source", "between", "target")


def memory_path(state_dir: str, migration_id: str) -> Path:
    """Where it is: on the host of the record, in the folder of the migration."""
    return expand(state_dir) / migration_id / NAME


def load(path: Path) -> dict[str, Any] | None:
    """What is remembered, or None. Raises MigrationError ``damaged_file``."""
    memory = read_json(path)
    if memory is None:
        return None
    well = isinstance(memory, dict) and memory.get("format") == FORMAT and memory.get("side") in SIDES
    if not well or not isinstance(memory.get("changes"), list):
        raise MigrationError(
            f"{path} doesn't say what a cutover changed. Look at it, then move it away; the report has the old addresses.",
            "damaged_file",
            path=str(path),
        )
    return dict(memory)


def remember(
    path: Path, changes: Sequence[Change], side: str, write: bool
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Add ``changes`` and say where dashboards point; returns the memory after and before."""
    if not write:
        before = load(path)
        return _merged(before, changes, side), before
    with lock(path.with_suffix(".lock")):
        before = load(path)
        after = _merged(before, changes, side)
        if after != before and after is not None:
            write_json(path, after)
    return after, before


def _merged(before: dict[str, Any] | None, changes: Sequence[Change], side: str) -> dict[str, Any] | None:
    if before is None and not changes:
        return None
    # After a way back that went through, the next cutover begins anew.
    known: list[Change] = before["changes"] if before and not (before["side"] == "source" and changes) else []
    merged = {_key(change): change for change in known}
    for change in changes:
        # A change that is made a second time, after an interruption, must not take the new value for the old one.
        merged[_key(change)] = {**change, "old": merged.get(_key(change), change)["old"]}
    return {"format": FORMAT, "side": side, "changes": list(merged.values())}


def _key(change: Change) -> tuple[str, str, str]:
    return str(change["tool"]), str(change.get("url", "")), str(change.get("id", change["name"]))
