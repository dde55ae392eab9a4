# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove a copy that was not promoted, or what a promoted one no longer needs."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..common.errors import MigrationError
from ..host.files import read_json, remove_tree
from ..record.promoted import stored_promotion
from . import private_server
from .folders import STEPS, Folders, Owner


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
    steps = read_json(folders.work / STEPS, _by_hand(folders))
    socket = (steps.get("done") or {}).get("socket") if isinstance(steps, dict) else None
    if socket and Owner.of(folders.work).has_private(Path(socket)):
        remove_tree(Path(socket))
    remove_tree(folders.work)


def remove_needless(state: Path) -> list[str]:
    """Remove what the promoted copy of the migration with this state folder no longer needs; returns warnings for what is left."""
    promoted = stored_promotion(state)
    if promoted is None or "mark" not in promoted:
        # Another method's.
        return []
    folders = Folders(Path(promoted["incoming"]))
    try:
        remove_work(folders)
    except (MigrationError, OSError) as error:
        reason = error.message if isinstance(error, MigrationError) else f"{error}. {_by_hand(folders)}"
        return [f"After the promotion, nothing needs {folders.work} any more, but it could not be removed: {reason}"]
    return []


def _by_hand(folders: Folders) -> str:
    return f"Remove the folder: sudo rm -r {shlex.quote(str(folders.work))}"
