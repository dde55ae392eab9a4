# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this migration was rolled back, according to its state folder on the target."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, cast

from ..host.files import read_json
from ..postgres.connection import ConnectionSettings
from ..postgres.database import find_database_by_oid
from ..postgres.session import Session, server_identity
from .promoted import Marked, has_mark

REVERSED = "rolled_back.json"


class _Reversed(TypedDict):
    name: str
    oid: int
    identity: str
    restored: str | None
    kept_as: str


class Reversal(_Reversed, Marked, total=False):
    """The content of REVERSED, and the result of rollback: name, oid and server of the promoted database, which is kept as ``kept_as``.

    restored: the former name of the database that has the real name again, None without one. With the method physical, ``restored`` and
    ``kept_as`` are paths of data directories, and replaced_identity is of the server that runs again.
    """

    replaced_identity: str


def already_reversed(settings: ConnectionSettings, state: Path) -> Reversal | None:
    """The stored rollback of this migration; None when it wasn't rolled back, or the transaction didn't commit."""
    found = read_json(state / REVERSED)
    if not isinstance(found, dict):
        return None
    stored = cast("Reversal", found)
    with Session(settings.maintenance) as session:
        if "mark" in stored:
            # With the method physical, a rollback puts the whole former server back.
            identity = server_identity(session)
            gone = identity != stored["identity"] or not has_mark(session, stored)
            return stored if gone and identity == stored["replaced_identity"] else None
        if stored["identity"] != server_identity(session):
            return None
        database = find_database_by_oid(session, stored["oid"])
    # A missing database was dropped after the rollback.
    return stored if database is None or database["name"] == stored["kept_as"] else None
