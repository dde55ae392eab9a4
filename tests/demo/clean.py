# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove what the demo made. Runs with Python 3.9 and no package."""

from __future__ import annotations

import sys
import time

from support.clusters import Cluster
from support.places import CACHE, SupportError, outside_folder, remove_work_folder, work_folder

from . import processes
from .folder import FOLDER, LOCK, PRIVATE, SIDES, alone

PATIENCE = 10.0


def clean() -> None:
    """Stop the servers and remove every file. Raises ``SupportError`` when something can't be."""
    with alone():
        processes.end()
        destroy_clusters()
        # A job of the migration that lost its server may still write down that it did.
        end = time.monotonic() + PATIENCE
        while True:
            remove_work_folder(FOLDER)
            if not PRIVATE.exists():
                break
            if time.monotonic() > end:
                raise SupportError(f"{PRIVATE} can't be removed: it belongs to somebody else, or is written to.")
            time.sleep(0.2)
        if outside_folder().is_dir():
            # Copies of what lies in the cache.
            remove_work_folder("postgres")
        LOCK.unlink()


def destroy_clusters() -> None:
    """Stop and remove both servers; nothing there is fine."""
    for side in SIDES:
        folder = work_folder(FOLDER) / side
        if (folder / "cluster.json").exists():
            Cluster.open(folder).destroy()


if __name__ == "__main__":
    if CACHE.is_dir():
        try:
            clean()
        except SupportError as error:
            sys.exit(f"clean: {error}")
