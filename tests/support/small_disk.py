# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small file system, which can be made larger."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from .places import server_account, work_folder


@contextmanager
def mounted(size: str) -> Iterator[Path]:
    """Where it is: a folder that a server can reach. Only root can mount it."""
    folder = Path(tempfile.mkdtemp(prefix="small disk ", dir=work_folder("disks")))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def fill(disk: Path, leave: int) -> None:
    """Make it as small as what is on it, and ``leave`` bytes."""
    state = os.statvfs(disk)
    resize(disk, str((state.f_blocks - state.f_bfree) * state.f_frsize + leave))


def folder_of_server(disk: Path) -> Path:
    """A folder there that belongs to the servers."""
    made = Path(tempfile.mkdtemp(prefix="server-", dir=disk))
    server_account().give(made)
    return made
