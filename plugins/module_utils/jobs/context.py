# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The context of a running job: its parameters, secrets, folder, progress and throttle."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from ..host.files import FILE_MODE
from ..postgres.connection import ConnectionSettings
from .progress import Progress
from .throttle import Throttle

Parameters = TypeVar("Parameters")


@dataclass
class JobContext:
    """The argument of a job's entry function. ``secrets`` are on disk only in passfiles (0600), until the job ends."""

    folder: Path
    parameters: dict[str, Any]
    progress: Progress
    throttle: Throttle
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def work(self) -> Path:
        """A private folder, empty when the job starts and removed when it ends."""
        return self.folder / "work"

    def given(self, _shape: type[Parameters]) -> Parameters:
        """The parameters, in the shape in which the job's ``job_spec`` passed them."""
        return cast("Parameters", self.parameters)

    def log(self, line: str) -> None:
        """Add a line to the job's log."""
        # A full disk must not fail the job here: the work itself reports it when it can't continue.
        with suppress(OSError):
            sys.stderr.write(line + "\n")

    def connection(self) -> ConnectionSettings:
        """The connection settings in the parameters, with the password from the secrets."""
        return ConnectionSettings.restored(self.parameters["connection"], self.secrets.get("login_password"))

    def passfile(self) -> Path:
        """Write a passfile (0600) for PostgreSQL's programs; it is removed when the job ends."""
        path = self.work / "passfile"
        path.touch(mode=FILE_MODE)
        path.write_text(self.connection().passfile_line(), encoding="utf-8")
        return path
