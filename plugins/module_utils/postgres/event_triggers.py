# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Event triggers of a restored database must not fire on our own statements before the database is promoted."""

from __future__ import annotations

from .connection import Session

# From 17 on, ``event_triggers`` is among the settings of every session of ours (session_settings.py).
SETTING_SINCE = 170000

# Only superusers own event triggers, so another role has none to silence. A database without any keeps its setting.
_SILENCE = """
SELECT pg_catalog.set_config('session_replication_role', 'replica', false) FROM pg_catalog.pg_roles
WHERE rolname = session_user AND rolsuper AND EXISTS (SELECT FROM pg_catalog.pg_event_trigger)
"""


def silence(session: Session) -> None:
    """Let this session change the schema without firing event triggers.

    Before PostgreSQL 17, those that their owner enabled ALWAYS or REPLICA fire all the same.
    """
    if session.version < SETTING_SINCE:
        session.execute(_SILENCE)
