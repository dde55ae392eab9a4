# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File systems of this host: which one holds a path, and how much space is free on it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileSystem:
    """A file system. Sizes are in bytes; ``free`` is what a user other than root can use.

    ``inodes_free`` is None where inodes are allocated on demand (such as btrfs).
    """

    device: int
    mount_point: str
    total: int
    free: int
    inodes_free: int | None


def locate(path: Path) -> FileSystem:
    """The file system of ``path``, which need not exist yet; symbolic links are followed."""
    existing = nearest(Path(os.path.realpath(path)))
    device = existing.stat().st_dev
    numbers = os.statvfs(existing)
    return FileSystem(
        device=device,
        mount_point=str(_mount_point(existing, device)),
        total=numbers.f_blocks * numbers.f_frsize,
        # f_bavail, because PostgreSQL can't use the blocks reserved for root.
        free=numbers.f_bavail * numbers.f_frsize,
        inodes_free=numbers.f_favail if numbers.f_files else None,
    )


def nearest(path: Path) -> Path:
    """``path`` or its closest parent that exists and that this user can stat."""
    while True:
        try:
            path.stat()
        except OSError:
            path = path.parent
        else:
            return path


def _mount_point(path: Path, device: int) -> Path:
    """The topmost folder above ``path`` that is still on ``device``."""
    while path != path.parent and path.parent.stat().st_dev == device:
        path = path.parent
    return path


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted on ``path``, a folder without symbolic links. Bind mounts of the same file system count, too."""
    if os.path.ismount(path):
        return True
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    # The fifth field is the mount point. Blanks, tabs, line ends and backslashes in it are octal escapes.
    points = (line.split(" ")[4] for line in lines)
    return str(path) in {re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point) for point in points}


def machine() -> str:
    """An identifier of this machine, new at each boot; empty where the kernel provides none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def folder_bytes(path: Path) -> int:
    """Bytes on disk of the files below ``path``; 0 when the folder doesn't exist or can't be read."""
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118
            except OSError:
                continue
    return total
