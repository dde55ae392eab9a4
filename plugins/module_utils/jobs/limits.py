# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How gently a job treats its host: a file in the job's folder, which may be changed while the job runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..common.errors import MigrationError
from ..host.files import read_json, write_json

FILE = "limits.json"
IO_CLASSES = ("none", "best-effort", "idle")


@dataclass(frozen=True)
class Limits:
    """nice: 0 to 19; io_class: as ionice(1) has it; rate_limit: bytes of tables a second, 0 for no limit."""

    nice: int = 0
    io_class: str = "none"
    rate_limit: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.nice <= 19:
            raise MigrationError(f"nice {self.nice} is not possible: use 0 (none) to 19 (gentlest).", "limits")
        if self.io_class not in IO_CLASSES:
            raise MigrationError(f"io_class {self.io_class!r} is not known: use {', '.join(IO_CLASSES)}.", "limits")
        if self.rate_limit < 0:
            raise MigrationError(f"rate_limit {self.rate_limit} is not possible: use bytes a second, or 0.", "limits")

    def as_dict(self) -> dict[str, Any]:
        """For files and results."""
        return asdict(self)


def load(folder: Path) -> Limits:
    """The limits of the job in ``folder``; none where the file is missing or damaged, which is no reason to stop."""
    try:
        return Limits(**(read_json(folder / FILE) or {}))
    except (MigrationError, TypeError):
        return Limits()


def save(folder: Path, limits: Limits) -> None:
    """Set the limits; a running job follows within seconds."""
    write_json(folder / FILE, limits.as_dict())
