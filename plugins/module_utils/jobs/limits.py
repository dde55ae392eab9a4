# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's limits on its host's resources: a file in the job's folder that may be changed while the job runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ..common.errors import MigrationError
from ..host.files import read_json, write_json

FILE = "limits.json"
IO_CLASSES = ("none", "best-effort", "idle")


class LimitsDocument(TypedDict):
    """The fields of Limits as JSON, in ``limits.json`` and module results."""

    nice: int
    io_class: str
    rate_limit: int


@dataclass(frozen=True)
class Limits:
    """Raises MigrationError ``limits`` for a value out of range.

    nice: niceness of the processes, 0 to 19.
    io_class: a class of ionice(1), one of IO_CLASSES.
    rate_limit: bytes of tables to read per second; 0 for no limit.
    """

    nice: int = 0
    io_class: str = "none"
    rate_limit: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.nice <= 19:
            raise MigrationError(f"nice {self.nice} is out of range: use 0 (normal) to 19 (lowest priority).", "limits")
        if self.io_class not in IO_CLASSES:
            raise MigrationError(f"io_class {self.io_class!r} is not known: use {', '.join(IO_CLASSES)}.", "limits")
        if self.rate_limit < 0:
            raise MigrationError(
                f"rate_limit {self.rate_limit} is negative: use bytes per second, or 0 for no limit.", "limits"
            )

    def as_dict(self) -> LimitsDocument:
        """The limits as JSON types."""
        return {"nice": self.nice, "io_class": self.io_class, "rate_limit": self.rate_limit}


def load(folder: Path) -> Limits:
    """The limits of the job in ``folder``; no limits when the file is missing or damaged, so that the job continues."""
    try:
        return Limits(**(read_json(folder / FILE) or {}))
    except (MigrationError, TypeError):
        return Limits()


def save(folder: Path, limits: Limits) -> None:
    """Write the limits; a running job applies them within seconds."""
    write_json(folder / FILE, limits.as_dict(), durable=False)
