# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far couch2pg is behind CouchDB: its stored seqs against high-water marks, by the numbers in front of them.

A busy CHT never stands still, so that nobody is ever equal with it: current means past a mark that was taken before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ..couchdb.client import CouchDB, DatabaseState
from ..couchdb.url import Followed, seq_number
from .checkpoint import Place


@dataclass(frozen=True)
class Sync:
    """One followed database: the mark, couch2pg's stored seq, and whether CouchDB itself said that nothing came after it."""

    place: Place
    mark: int
    quiet: bool = False

    @property
    def stored(self) -> int:
        """The number of the stored seq; 0 where there is none."""
        return 0 if self.place.seq is None else seq_number(self.place.seq)

    @property
    def current(self) -> bool:
        """Whether everything up to the mark has arrived."""
        return self.stored >= self.mark or self.quiet

    def as_dict(self) -> dict[str, Any]:
        """For results and the record."""
        return {
            "database": self.place.followed.database,
            "key": self.place.followed.key,
            "mark": self.mark,
            "stored": self.stored,
            "behind": 0 if self.current else self.mark - self.stored,
            "current": self.current,
        }


def take_marks(client: CouchDB, followed: Sequence[Followed]) -> dict[str, DatabaseState]:
    """The state of each followed database now, by the key of couch2pg's place in it."""
    return {entry.key: client.state(entry.database) for entry in followed}


def compare(places: Sequence[Place], marks: Mapping[str, int]) -> list[Sync]:
    """Each place against the mark under its key; a place without a mark is left out."""
    return [Sync(place, marks[place.followed.key]) for place in places if place.followed.key in marks]


def settle(client: CouchDB, found: Sequence[Sync]) -> list[Sync]:
    """The same, where a database that seems behind is asked whether anything came after the stored seq at all.

    The numbers of a cluster's seqs are sums over its nodes, and may differ a little from one answer to the next.
    """
    return [
        entry
        if entry.current or entry.place.seq is None
        else Sync(entry.place, entry.mark, client.quiet_since(entry.place.followed.database, entry.place.seq))
        for entry in found
    ]


def describe(found: Sequence[Sync]) -> str:
    """Those that are behind, in a few words; empty when all are current."""
    return ", ".join(
        f"{entry.place.followed.database} {entry.stored} of {entry.mark}" for entry in found if not entry.current
    )
