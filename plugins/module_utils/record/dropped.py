# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether cleanup dropped the source's database, according to the migration's state folder on the source."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from ..host.files import read_json
from ..postgres.database import find_database_by_oid
from ..postgres.session import Session, server_identity

DROPPED = "dropped.json"


class StoredDrop(TypedDict):
    """The content of ``dropped.json``: the database, and its name just before the drop."""

    oid: int
    identity: str
    name: str


def was_dropped(session: Session, state: Path) -> bool:
    """Whether this migration's cleanup has dropped its database on this server."""
    stored = read_json(state / DROPPED)
    return (
        isinstance(stored, dict)
        and stored.get("identity") == server_identity(session)
        and find_database_by_oid(session, stored["oid"]) is None
    )
