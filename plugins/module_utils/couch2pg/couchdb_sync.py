# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many changes couch2pg is behind CouchDB: its checkpoints against high-water marks, compared by their numbers.

A busy CouchDB changes all the time, so couch2pg never reaches its latest sequence. Current means: couch2pg has reached a mark that
was taken earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence, TypedDict

from ..couchdb.client import CouchDB, DatabaseState
from ..couchdb.url import Followed, seq_number
from .checkpoint import Checkpoint


class ShownSync(TypedDict):
    """A followed database in results: the numbers of its mark and checkpoint, and the number of missing changes."""

    database: str
    key: str
    mark: int
    stored: int
    behind: int
    current: bool


@dataclass(frozen=True)
class Sync:
    """A followed database: its checkpoint, the mark, and whether CouchDB says that nothing changed after the checkpoint."""

    checkpoint: Checkpoint
    mark: int
    quiet: bool = False

    @property
    def stored(self) -> int:
        """The number of the stored sequence; 0 without one."""
        return 0 if self.checkpoint.seq is None else seq_number(self.checkpoint.seq)

    @property
    def current(self) -> bool:
        """Whether everything up to the mark has arrived."""
        return self.stored >= self.mark or self.quiet

    def as_dict(self) -> ShownSync:
        """The comparison for results and the record."""
        return {
            "database": self.checkpoint.followed.database,
            "key": self.checkpoint.followed.key,
            "mark": self.mark,
            "stored": self.stored,
            "behind": 0 if self.current else self.mark - self.stored,
            "current": self.current,
        }


def take_marks(client: CouchDB, followed: Sequence[Followed]) -> dict[str, DatabaseState]:
    """The state of each followed database now, by the key of its checkpoint."""
    return {entry.key: client.state(entry.database) for entry in followed}


def compare(found: Sequence[Checkpoint], marks: Mapping[str, int]) -> list[Sync]:
    """Each checkpoint against the mark under its key. A checkpoint without a mark is left out."""
    return [Sync(entry, marks[entry.followed.key]) for entry in found if entry.followed.key in marks]


def settle(client: CouchDB, found: Sequence[Sync]) -> list[Sync]:
    """The same comparison, after asking CouchDB for each database that seems behind whether anything changed after its checkpoint.

    The number of a CouchDB cluster's sequence is a sum over its nodes, and can differ a little between two answers.
    """
    return [
        entry
        if entry.current or entry.checkpoint.seq is None
        else Sync(
            entry.checkpoint, entry.mark, client.quiet_since(entry.checkpoint.followed.database, entry.checkpoint.seq)
        )
        for entry in found
    ]


def describe(found: Sequence[Sync]) -> str:
    """The databases that are behind, for a message; empty when all are current."""
    return ", ".join(
        f"{entry.checkpoint.followed.database} {entry.stored} of {entry.mark}" for entry in found if not entry.current
    )
