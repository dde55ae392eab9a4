# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove the data directory that the target's server had before a promotion with the method physical."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

from ..common.errors import MigrationError
from ..host import services
from ..host.file_systems import folder_bytes
from ..host.files import remove_tree
from ..physical import private_server
from ..record.promoted import stored_promotion
from .removal import Removed

_NAME = re.compile(r".+_replaced_\d{8}T\d{6}")


def find(state: Path) -> Path | None:
    """The data directory that this migration's promotion replaced; None when it is gone, or there never was one.

    Raises MigrationError ``server_running`` when a server runs on it.
    """
    promoted = stored_promotion(state)
    path = Path((promoted.get("replaced") if promoted else None) or "")
    if not _NAME.fullmatch(path.name) or not path.is_dir():
        return None
    process = private_server.postmaster(path)
    if process is not None:
        raise MigrationError(
            f"A server runs on {path}, which the promotion replaced. Nothing was removed. Check that nobody needs it and stop it: "
            f"{_stop_command(path, process)} Then run again.",
            "server_running",
        )
    return path


def _stop_command(path: Path, process: int) -> str:
    unit = services.unit_of(process)
    if unit:
        return f"systemctl stop {unit}"
    pg_ctl = "pg_ctl"
    with suppress(OSError):
        # The pg_ctl of the running server. After an upgrade of its package, the link ends with " (deleted)".
        pg_ctl = str(Path(os.readlink(f"/proc/{process}/exe").replace(" (deleted)", "")).with_name("pg_ctl"))
    return f"sudo -u {path.owner()} {pg_ctl} stop --pgdata={shlex.quote(str(path))}"


def remove(path: Path, write: bool) -> Removed:
    """Remove the data directory. Without ``write``, nothing is removed."""
    files = sum(1 for found in path.rglob("*") if not found.is_dir())
    size = folder_bytes(path)
    # The files of its tablespaces are elsewhere, and stay.
    left = [str(link.resolve()) for link in sorted((path / "pg_tblspc").glob("*"))]
    if write:
        remove_tree(path)
    return {"files": files, "bytes": size, "left": left}
