# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A temporary folder for files that hold passwords. The next call removes it when its process was killed."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from . import processes


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A private folder (0700), removed at the end of the block. Folders of this user's killed processes are removed first."""
    prefix = f"couch2pg-{os.geteuid()}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*-*"):
        process = left.name[len(prefix) :].partition("-")[0]
        if process.isdigit() and not processes.is_alive(int(process)) and _is_own_folder(left):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-") as folder:
        yield Path(folder)


def _is_own_folder(path: Path) -> bool:
    """Whether it is a folder, and of this user: another one can make a folder or a link with such a name."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
