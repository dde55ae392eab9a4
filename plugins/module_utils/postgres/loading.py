# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the sessions that load rows and build indexes."""

from __future__ import annotations

from ..common.errors import MigrationError
from . import session_settings
from .connection import Readable, Session

_DISK_FULL = "53100"
_LZ4 = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_settings
               WHERE name = 'default_toast_compression' AND source = 'default' AND 'lz4' = ANY (enumvals))
"""


def settings(session: Session) -> dict[str, str]:
    """The settings for loading into the session's database, by name.

    Large values are compressed with lz4, which takes a fraction of the time of pglz, where the server has it. A
    ``default_toast_compression`` that somebody set, for the server, the database or the role, is left as it is.
    """
    # The load ends with one synchronous commit, which makes all others durable.
    found = {"synchronous_commit": "off"}
    if session.value(_LZ4):
        found["default_toast_compression"] = "lz4"
    return found


def apply(session: Session) -> None:
    """Give the session these settings, and those of the database that a CHECK constraint may depend on."""
    for name in session_settings.CHECKED:
        session.execute(f"RESET {name}")
    for name, value in settings(session).items():
        session.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])


def copy_in(session: Session, statement: str, rows: Readable) -> int:
    """``Session.copy_in``, with advice for a full disk."""
    try:
        return session.copy_in(statement, rows)
    except MigrationError as error:
        if error.details.get("sqlstate") != _DISK_FULL:
            raise
        raise MigrationError(
            f"{error.message} Free disk space on the target, then run again.", error.code, **error.details
        ) from error
