# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source as a transfer sees it: which archive it has, and whether it can serve it. Only looks."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

from ..archive import identity, manifest
from ..common.errors import MigrationError
from ..host import programs
from ..host.files import expand
from . import authorized_keys, partial_archive


def examine(archive: str, migration_id: str) -> dict[str, Any]:
    """What ``transfer_way`` and the transfer need to know.

    Raises MigrationError ``manifest_missing``, ``manifest_damaged`` or ``other_archive``.
    """
    root = expand(archive)
    return dict(describe(root, migration_id), **served_by())


def describe(root: Path, migration_id: str) -> dict[str, Any]:
    """The archive in ``root``."""
    _check_readable(root)
    # Whether it is the one that was dumped, the target's record knows.
    listing = identity.load_own(root, migration_id, "")
    compression = listing.get("options", {}).get("compression")
    return {
        "archive": str(root),
        "manifest_sha256": identity.manifest_sha256(root),
        "manifest_bytes": (root / manifest.MANIFEST).stat().st_size,
        "identity": partial_archive.identify(root),
        "bytes": listing["bytes"],
        "files": len(listing["files"]),
        "compressible": compression == "none",
    }


def served_by() -> dict[str, Any]:
    """Who serves it here, and what is in the way."""
    account = pwd.getpwuid(os.geteuid())
    try:
        rsync = programs.locate("rsync", "")
    except MigrationError:
        rsync = ""
    return {"user": account.pw_name, "rsync": rsync, "obstacles": authorized_keys.obstacles(account)}


def _check_readable(root: Path) -> None:
    """Somebody else's folder would look as if there were none."""
    try:
        os.listdir(root)  # noqa: PTH208
    except PermissionError as error:
        raise MigrationError(
            f"The archive in {root} can't be read by {pwd.getpwuid(os.geteuid()).pw_name}. "
            "Let the one who made the dump serve it: leave couch2pg_transfer_user empty.",
            "not_readable",
            path=str(root),
        ) from error
    except OSError:
        # manifest.load says it.
        return
