# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's processes beside PostgreSQL: CouchDB, and a couch2pg for either side. Runs with Python 3.9 and no package."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from .folder import PRIVATE, SIDES

SERVICE = Path(__file__).with_name("couch2pg")
COUCHDB = PRIVATE / "couchdb"
# Its password, its port and the number of its process.
SAVED = COUCHDB / "couchdb.json"


def folder(side: str) -> Path:
    """Where this side's couch2pg has its settings and its log."""
    return PRIVATE / "couch2pg" / side


def service(verb: str, side: str) -> None:
    """Start or stop a side's couch2pg."""
    subprocess.run([SERVICE, verb, folder(side)], check=True)


def runs(pid: int | None, program: str) -> bool:
    """Whether that process is still this program."""
    try:
        return bool(pid) and program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def end() -> None:
    """Stop all of them; nothing there is fine."""
    for side in SIDES:
        if folder(side).is_dir():
            service("stop", side)
    if SAVED.exists():
        pid = json.loads(SAVED.read_text(encoding="utf-8"))["pid"]
        while runs(pid, "pouchdb-server"):
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.1)
