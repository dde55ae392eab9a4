# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job's work gets: its parameters, its secrets, its folder, and a place to say how far it is."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..host.files import FILE_MODE
from ..postgres.connection import ConnectionSettings
from .progress import Progress
from .throttle import Sparing


@dataclass
class JobContext:
    """Handed to the entry function of a job."""

    folder: Path
    parameters: dict[str, Any]
    progress: Progress
    sparing: Sparing
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def work(self) -> Path:
        """A private folder that is emptied before the job starts and when it ends."""
        return self.folder / "work"

    def log(self, line: str) -> None:
        """Add a line to the job's log."""
        # On a full disk the work itself says so, or goes on.
        with suppress(OSError):
            sys.stderr.write(line + "\n")

    def connection(self) -> ConnectionSettings:
        """The database that the parameters name, with its password."""
        return ConnectionSettings.restored(self.parameters["connection"], self.secrets.get("login_password"))

    def passfile(self) -> Path:
        """A passfile (0600) for PostgreSQL's programs, which lives as long as the job."""
        path = self.work / "passfile"
        path.touch(mode=FILE_MODE)
        path.write_text(self.connection().passfile_line(), encoding="utf-8")
        return path
