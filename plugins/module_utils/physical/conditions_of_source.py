# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the source must have, or must not have, for a copy of its files."""

from __future__ import annotations

from ..common.errors import MigrationError
from ..postgres import unlogged
from ..postgres.session import Session

_TABLESPACES = "SELECT spcname AS name FROM pg_catalog.pg_tablespace WHERE oid NOT IN (1663, 1664) ORDER BY 1"
_POSTGRES = "SELECT FROM pg_catalog.pg_database WHERE datname = 'postgres' AND datallowconn"
_STREAM = "or use couch2pg_method: stream."


def check_source(session: Session) -> None:
    """Raise MigrationError ``is_standby``, ``no_postgres``, ``tablespaces``, ``unlogged`` or ``wal_level``."""
    place = session.settings.place
    if session.value("SELECT pg_catalog.pg_is_in_recovery()"):
        raise MigrationError(
            f"The server at {place} is a standby, on which no restore point can be made. Take its primary as the source, {_STREAM}",
            "is_standby",
        )
    if not session.rows(_POSTGRES):
        raise MigrationError(
            f"The server at {place} has no database postgres that can be connected to, in which the copy is examined. There: CREATE "
            f"DATABASE postgres (or ALTER DATABASE postgres ALLOW_CONNECTIONS true), {_STREAM}",
            "no_postgres",
        )
    spaces = [row["name"] for row in session.rows(_TABLESPACES)]
    if spaces:
        raise MigrationError(
            f"The server at {place} has tablespaces ({', '.join(spaces)}), whose folders a copy of its files would need on the target. "
            "Use couch2pg_method: stream, with couch2pg_tablespaces: default where the target has no tablespaces of these names.",
            "tablespaces",
            tablespaces=spaces,
        )
    lost = unlogged.find(session)
    if lost:
        names = list(lost)
        some = ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
        raise MigrationError(
            f"WAL does not have the content of {some}: unlogged tables would arrive empty, sequences at their start. On the source, "
            f"in {session.settings.database!r}: {' '.join(lost.values())} Then run again, {_STREAM}",
            "unlogged",
            names=names,
        )
    level = session.value("SELECT pg_catalog.current_setting('wal_level')")
    if level == "minimal":
        raise MigrationError(
            f"The server at {place} has wal_level = minimal, which no base backup can be made from. There: ALTER SYSTEM SET wal_level = "
            f"replica; then restart it, {_STREAM}",
            "wal_level",
        )
