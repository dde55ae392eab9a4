# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions with every database of a server, for what holds for the whole server."""

from __future__ import annotations

from typing import Iterator

from ..common.errors import MigrationError
from .session import Session

_NAMES = """
SELECT datname AS name, datallowconn AND datconnlimit <> -2 AS open FROM pg_catalog.pg_database WHERE datname <> 'template0' ORDER BY 1
"""


def sessions(session: Session) -> Iterator[tuple[str, Session | None]]:
    """The name of each database but template0, and a session with it, open until the next one.

    None in place of the session: the database allows no connections, or refuses this login, because pg_hba.conf may allow only one.
    """
    for row in session.rows(_NAMES):
        try:
            inside = Session(session.settings.to(row["name"])) if row["open"] else None
        except MigrationError:
            inside = None
        if inside is None:
            yield row["name"], None
            continue
        with inside:
            yield row["name"], inside
