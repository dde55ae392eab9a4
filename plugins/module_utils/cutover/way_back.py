# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of a cutover: the old settings of each dashboard's connection, stored beside the record before the cutover changes it.

So a run that is killed in the middle can be undone, too. The file has addresses and names, but no passwords.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence, TypedDict

from ..common.errors import MigrationError
from ..host.files import expand, lock, read_json, write_json
from .changes import Change

FORMAT = 1
NAME = "cutover.json"
# Where the dashboards lead: "between" while a run changes them, and after such a run was interrupted.
SIDES = ("source", "between", "target")


class WayBack(TypedDict):
    """The content of the file: where the dashboards lead now, and every change of a connection."""

    format: int
    side: str
    changes: list[Change]


def path_of(state_dir: str, migration_id: str) -> Path:
    """The file, on the host of the record in the folder of the migration."""
    return expand(state_dir) / migration_id / NAME


def load(path: Path) -> WayBack | None:
    """The content of the file, or None without one. Raises MigrationError ``damaged_file``."""
    remedy = "Move it away, and give the dashboards their old addresses by hand; the report has them."
    stored = read_json(path, remedy)
    if stored is None:
        return None
    valid = isinstance(stored, dict) and stored.get("format") == FORMAT and stored.get("side") in SIDES
    if not valid or not isinstance(stored.get("changes"), list):
        raise MigrationError(
            f"{path} doesn't contain the changes of a cutover. {remedy}",
            "damaged_file",
            path=str(path),
        )
    return WayBack(format=FORMAT, side=stored["side"], changes=stored["changes"])


def add(path: Path, changes: Sequence[Change], side: str, write: bool) -> tuple[WayBack | None, WayBack | None]:
    """Add ``changes`` and set where the dashboards lead. Returns the content of the file after and before."""
    if not write:
        before = load(path)
        return _merged(before, changes, side), before
    with lock(path.with_suffix(".lock")):
        before = load(path)
        after = _merged(before, changes, side)
        if after != before and after is not None:
            write_json(path, after)
    return after, before


def _merged(before: WayBack | None, changes: Sequence[Change], side: str) -> WayBack | None:
    if before is None and not changes:
        return None
    # After a complete way back, the next cutover starts with an empty list.
    known: list[Change] = before["changes"] if before and not (before["side"] == "source" and changes) else []
    merged = {_key(change): change for change in known}
    for change in changes:
        # After an interruption a run finds the new value in place. The stored old value is the one to keep.
        merged[_key(change)] = {**change, "old": merged.get(_key(change), change)["old"]}
    return WayBack(format=FORMAT, side=side, changes=list(merged.values()))


def _key(change: Change) -> tuple[str, str, str]:
    return str(change["tool"]), str(change.get("url", "")), str(change.get("id", change["name"]))
