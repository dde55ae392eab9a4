# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where throw-away things may lie, and who runs a server: PostgreSQL refuses to run as root."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"


class SupportError(Exception):
    """One sentence on what is missing or went wrong, and what to do."""


@dataclass(frozen=True)
class Account:
    """The system user that a server runs as: ``uid`` None means ourselves."""

    uid: int | None
    gid: int | None

    def run_as(self) -> dict[str, Any]:
        """Arguments that make ``subprocess`` run a program as this user."""
        return {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Make this user the owner of one file or folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def server_account() -> Account:
    """Ourselves, or the user ``nobody`` when we are root."""
    if os.geteuid() != 0:
        return Account(None, None)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def open_to_all(path: Path) -> bool:
    """Whether any user may go through every folder above ``path``, and read (or enter) the path itself."""
    path = path.resolve()
    own = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
    return path.stat().st_mode & own == own and all(p.stat().st_mode & stat.S_IXOTH for p in path.parents)


def work_folder(name: str) -> Path:
    """The folder ``name``, made when it is missing, in a place that the server's user can reach.

    It lies in the checkout's ``.cache``; when we are root and the checkout is not open to others, under ``/var/tmp``.
    The same checkout always gets the same folder. Raises ``SupportError`` when somebody else made it.
    """
    CACHE.mkdir(exist_ok=True)
    base = CACHE
    if server_account().uid is not None and not open_to_all(CACHE):
        base = outside_folder()
        base.mkdir(mode=0o755, exist_ok=True)
        # Anybody may make folders there: one that is not ours could be exchanged under our hands.
        if base.is_symlink() or base.stat().st_uid != os.geteuid():
            raise SupportError(f"{base} belongs to somebody else: remove it.")
        base.chmod(0o755)
    folder = base / name
    folder.mkdir(exist_ok=True)
    # Whatever the umask is, the server's user goes through it.
    folder.chmod(0o755)
    return folder


def remove_work_folder(name: str) -> None:
    """Remove the folder, wherever ``work_folder`` made it; nothing there is fine."""
    for base in (CACHE, outside_folder()):
        if not base.is_symlink() and base.is_dir():
            shutil.rmtree(base / name, ignore_errors=True)
    if outside_folder().is_dir() and not any(outside_folder().iterdir()):
        outside_folder().rmdir()


def outside_folder() -> Path:
    """Where this checkout's folders are when they can't be in the checkout; it may not exist."""
    checkout = hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:12]
    return Path("/var/tmp") / f"cht-couch2pg-{checkout}"
