# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove a copy that was not promoted."""

from __future__ import annotations

from pathlib import Path

from ..host.files import read_json, remove_tree
from . import private_server
from .folders import STEPS, Folders


def copy_of(state: Path) -> Folders | None:
    """The folders of the copy that the migration with this state folder makes on this host; None for other methods."""
    spec = read_json(state / "jobs" / "restore" / "spec.json")
    parameters = spec.get("parameters") if isinstance(spec, dict) else None
    if not isinstance(parameters, dict) or parameters.get("method") != "physical":
        return None
    return Folders.beside(Path(parameters["data"]), parameters["migration_id"])


def remove(folders: Folders, write: bool = True) -> bool:
    """End the server on the copy and remove its folders; returns whether there were any."""
    there = folders.incoming.exists() or folders.work.exists()
    if not write or not there:
        return there
    for data in (folders.incoming, folders.old):
        private_server.end_on(data)
    remove_tree(folders.incoming)
    remove_work(folders)
    return True


def remove_work(folders: Folders) -> None:
    """Remove what the copy needed besides its data directory: its work folder, and the folder of its socket, which may be elsewhere."""
    steps = read_json(folders.work / STEPS)
    socket = (steps.get("done") or {}).get("socket") if isinstance(steps, dict) else None
    if socket:
        remove_tree(Path(socket))
    remove_tree(folders.work)
