# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg's checkpoints: rows of couchdb_progress that hold, for each CouchDB database, the last sequence that arrived.

couch2pg derives a row's key from COUCHDB_URL. Without a row under that key it starts at sequence 0: it downloads everything
again, and deletes and inserts every document again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Mapping, TypedDict

from ..common.errors import MigrationError
from ..couchdb.url import Followed, seq_number
from ..postgres.session import Session

# A stored sequence that never advanced: the CouchDB database was empty, or couch2pg has only just started with this key.
_BEGINNING = re.compile(r"(?:0(?:-.*)?|None|null)?$")


class Rename(TypedDict):
    """A checkpoint's key now, and the key that couch2pg will use."""

    before: str
    after: str


class ShownCheckpoint(TypedDict):
    """A checkpoint in results: the number of its sequence (None without a checkpoint), and the other key that it is stored under."""

    database: str
    key: str
    seq: int | None
    instead: str | None


@dataclass(frozen=True)
class Checkpoint:
    """A database's checkpoint: the stored sequence, or None, and the other key under which the checkpoint seems to be stored."""

    followed: Followed
    seq: str | None
    instead: str | None

    @property
    def known(self) -> bool:
        """Whether couch2pg continues from a stored sequence."""
        return self.seq is not None

    def as_dict(self) -> ShownCheckpoint:
        """The checkpoint for results and the record."""
        return {
            "database": self.followed.database,
            "key": self.followed.key,
            "seq": None if self.seq is None else seq_number(self.seq),
            "instead": self.instead,
        }


def stored(session: Session) -> dict[str, str]:
    """The sequence under each key of ``public.couchdb_progress``."""
    rows = session.rows("SELECT source::text AS source, seq::text AS seq FROM public.couchdb_progress ORDER BY 1")
    return {row["source"]: row["seq"] or "" for row in rows if row["source"] is not None}


def checkpoints(session: Session, followed: list[Followed]) -> list[Checkpoint]:
    """The checkpoint of each followed database in ``public.couchdb_progress``."""
    return match(stored(session), followed)


def match(known: Mapping[str, str], followed: list[Followed]) -> list[Checkpoint]:
    """The checkpoint of each followed database in ``known``, which ``stored`` returned here or on another server."""
    used = {entry.key for entry in followed}
    unused = {key for key, seq in known.items() if not _BEGINNING.match(seq) and key not in used}
    return [_checkpoint(entry, known, unused) for entry in followed]


def _checkpoint(entry: Followed, known: Mapping[str, str], unused: set[str]) -> Checkpoint:
    if known.get(entry.key):
        return Checkpoint(entry, known[entry.key], None)
    others = _of_same_name(entry, unused)
    if others:
        return Checkpoint(entry, None, others[0] if len(others) == 1 else None)
    # Sequence 0 under another key: the database was empty, so that starting at 0 downloads nothing again.
    return Checkpoint(entry, "0" if _of_same_name(entry, known) else None, None)


def _of_same_name(entry: Followed, keys: Iterable[str]) -> list[str]:
    return [key for key in sorted(keys) if database_of(key) == entry.database.strip("/")]


def database_of(key: str) -> str:
    """The name of the database in the key of a checkpoint, without slashes and query string."""
    return key.partition("/")[2].partition("?")[0].strip("/")


def check(found: list[Checkpoint]) -> None:
    """Raise MigrationError ``would_resync`` for databases without a checkpoint, which couch2pg would download again."""
    missing = [entry for entry in found if not entry.known]
    if missing:
        names = ", ".join(entry.followed.database for entry in missing)
        renamed = [f"{entry.instead!r} to {entry.followed.key!r}" for entry in missing if entry.instead]
        remedy = (
            f"CouchDB seems to have another name on the target: set couch2pg_rename_checkpoints: true to rename {'; '.join(renamed)}."
            if len(renamed) == len(missing)
            else "Compare COUCHDB_URL with the source's, letter by letter: host, port and path are part of a checkpoint's key."
        )
        raise MigrationError(
            f"couch2pg has no checkpoint for {names} in couchdb_progress and would download everything again. {remedy}",
            "would_resync",
            checkpoints=[entry.as_dict() for entry in found],
        )


def renames(found: list[Checkpoint]) -> list[Rename]:
    """The renames that give these databases a checkpoint under the key that couch2pg will use."""
    return [
        {"before": entry.instead, "after": entry.followed.key} for entry in found if not entry.known and entry.instead
    ]


def rename(session: Session, changes: list[Rename]) -> None:
    """Rename checkpoints, all in one transaction."""
    session.execute("BEGIN")
    for change in changes:
        # A row without a sequence under the new key would become a second row of that key.
        session.execute(
            "DELETE FROM public.couchdb_progress WHERE source = %s AND coalesce(seq::text, '') = ''", [change["after"]]
        )
        session.execute(
            "UPDATE public.couchdb_progress SET source = %s WHERE source = %s", [change["after"], change["before"]]
        )
    session.execute("COMMIT")
