# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Will couch2pg go on from where it was? Its place is a row of couchdb_progress under a key that it makes of COUCHDB_URL.

Without that row it begins at 0: everything is downloaded again, and every document is deleted and inserted again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Iterable, Mapping

from ..common.errors import MigrationError
from ..couchdb.url import Followed, seq_number
from ..postgres.connection import Session

# A seq that was stored and never advanced: of a database that was empty, or under a key that was just begun with.
_BEGINNING = re.compile(r"(?:0(?:-.*)?|None|null)?$")


@dataclass(frozen=True)
class Place:
    """One database's place: its stored seq, or None; and the key under which the place seems to be instead."""

    followed: Followed
    seq: str | None
    instead: str | None

    @property
    def known(self) -> bool:
        """Whether couch2pg will go on from a stored seq."""
        return self.seq is not None

    def as_dict(self) -> dict[str, Any]:
        """For results and the record."""
        return {
            "database": self.followed.database,
            "key": self.followed.key,
            "seq": None if self.seq is None else seq_number(self.seq),
            "instead": self.instead,
        }


def stored(session: Session) -> dict[str, str]:
    """Every key of ``public.couchdb_progress`` with its seq."""
    rows = session.rows("SELECT source::text AS source, seq::text AS seq FROM public.couchdb_progress ORDER BY 1")
    return {row["source"]: row["seq"] or "" for row in rows if row["source"] is not None}


def places(session: Session, followed: list[Followed]) -> list[Place]:
    """The place of each followed database in ``public.couchdb_progress``."""
    return match(stored(session), followed)


def match(known: Mapping[str, str], followed: list[Followed]) -> list[Place]:
    """The place of each followed database among those that ``stored`` returned, perhaps on another server."""
    used = {entry.key for entry in followed}
    unused = {key for key, seq in known.items() if not _BEGINNING.match(seq) and key not in used}
    return [_place(entry, known, unused) for entry in followed]


def _place(entry: Followed, known: Mapping[str, str], unused: set[str]) -> Place:
    if known.get(entry.key):
        return Place(entry, known[entry.key], None)
    others = _of_same_name(entry, unused)
    if others:
        return Place(entry, None, others[0] if len(others) == 1 else None)
    # At the beginning under another name: the database was empty, and nothing is fetched again.
    return Place(entry, "0" if _of_same_name(entry, known) else None, None)


def _of_same_name(entry: Followed, keys: Iterable[str]) -> list[str]:
    return [key for key in sorted(keys) if database_of(key) == entry.database.strip("/")]


def database_of(key: str) -> str:
    """The name of the database in a key, without slashes and query."""
    return key.partition("/")[2].partition("?")[0].strip("/")


def check(found: list[Place]) -> None:
    """Raise MigrationError ``would_resync`` that names the databases which would be downloaded again."""
    missing = [place for place in found if not place.known]
    if missing:
        names = ", ".join(place.followed.database for place in missing)
        renamed = [f"{place.instead!r} to {place.followed.key!r}" for place in missing if place.instead]
        remedy = (
            f"It seems to be a matter of names: to rename {'; '.join(renamed)}, set rename to true."
            if len(renamed) == len(missing)
            else "Compare COUCHDB_URL with the source's letter by letter: host, port and path are part of the key."
        )
        raise MigrationError(
            f"couch2pg has no place for {names} in couchdb_progress and would download everything again. {remedy}",
            "would_resync",
            places=[place.as_dict() for place in found],
        )


def renames(found: list[Place]) -> list[dict[str, str]]:
    """The keys that would have to be renamed, with what couch2pg will use instead."""
    return [
        {"before": place.instead, "after": place.followed.key} for place in found if not place.known and place.instead
    ]


def rename(session: Session, changes: list[dict[str, str]]) -> None:
    """Give each place the key that couch2pg will use, all in one transaction."""
    session.execute("BEGIN")
    for change in changes:
        # A row of the new key that holds no place would be a second one.
        session.execute(
            "DELETE FROM public.couchdb_progress WHERE source = %s AND coalesce(seq::text, '') = ''", [change["after"]]
        )
        session.execute(
            "UPDATE public.couchdb_progress SET source = %s WHERE source = %s", [change["after"], change["before"]]
        )
    session.execute("COMMIT")
