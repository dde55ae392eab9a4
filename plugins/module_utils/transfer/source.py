# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Examine the source for a transfer: which archive it has, and whether it can serve it. Changes nothing."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ..archive import identity, layout
from ..common.errors import MigrationError
from ..gate import authorized_keys
from ..host import programs
from ..host.files import expand
from . import partial_archive


def examine(archive: str, migration_id: str) -> partial_archive.SourceArchive:
    """The facts about the source that choosing the way and the transfer need.

    Raises MigrationError ``manifest_missing``, ``manifest_damaged`` or ``other_archive``.
    """
    root = expand(archive)
    found = describe(root, migration_id)
    found.update(served_by())
    return found


def describe(root: Path, migration_id: str) -> partial_archive.SourceArchive:
    """Facts about the archive in ``root``."""
    _check_readable(root)
    # Whether it is the archive that was dumped is checked on the target, which has the record.
    listing = identity.load_own(root, migration_id, "")
    compression = listing.get("options", {}).get("compression")
    return {
        "archive": str(root),
        "manifest_sha256": identity.manifest_sha256(root),
        "manifest_bytes": (root / layout.MANIFEST).stat().st_size,
        "identity": partial_archive.identify(root),
        "bytes": listing["bytes"],
        "files": len(listing["files"]),
        "compressible": compression == "none",
    }


def served_by() -> partial_archive.SourceArchive:
    """The user that serves the archive, the path of rsync, and obstacles for ssh."""
    account = pwd.getpwuid(os.geteuid())
    try:
        rsync = programs.locate("rsync", "")
    except MigrationError:
        rsync = ""
    return {"user": account.pw_name, "rsync": rsync, "obstacles": authorized_keys.obstacles(account)}


def _check_readable(root: Path) -> None:
    """Raise MigrationError ``not_readable``: without this check, an unreadable folder would look like a missing archive."""
    try:
        os.listdir(root)  # noqa: PTH208
    except PermissionError as error:
        raise MigrationError(
            f"The archive in {root} can't be read by {pwd.getpwuid(os.geteuid()).pw_name}. "
            "Leave couch2pg_transfer_user empty, so that the user that made the dump serves it.",
            "not_readable",
            path=str(root),
        ) from error
    except OSError:
        # manifest.load reports it.
        return
