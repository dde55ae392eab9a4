# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Event triggers of a restored database must not fire on statements of this collection before the database is promoted."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

from .identifiers import quote
from .session import Session

# From PostgreSQL 17 on, every session sets ``event_triggers`` instead (session_settings.py).
SETTING_SINCE = 170000

# Only superusers own event triggers, so another role has none to silence. Without event triggers, session_replication_role stays as it is.
_CAN_FIRE = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = session_user AND rolsuper)
    AND EXISTS (SELECT FROM pg_catalog.pg_event_trigger)
"""
_ENABLED = """
SELECT e.evtname AS name, CASE e.evtenabled WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE' END AS mode
FROM pg_catalog.pg_event_trigger AS e JOIN pg_catalog.pg_roles AS r ON r.rolname = session_user AND r.rolsuper
WHERE e.evtenabled <> 'D' ORDER BY 1
"""
_LOUD = "SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled IN ('A', 'R'))"


def silence(session: Session) -> None:
    """Let this session change the schema without firing event triggers.

    Before PostgreSQL 17, event triggers that are enabled ALWAYS or REPLICA still fire.
    """
    for name, value in settings(session).items():
        session.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])


def settings(session: Session) -> dict[str, str]:
    """The settings, by name, with which a session or a program silences the event triggers of this database; empty where none can fire.

    The event triggers of an extension are created with it, before the rows and objects that they look for.
    """
    silent = session.version >= SETTING_SINCE or not session.value(_CAN_FIRE)
    return {} if silent else {"session_replication_role": "replica"}


def are_loud(session: Session) -> bool:
    """Whether some event triggers would fire in spite of ``silence``. If so, use ``silent_transaction``."""
    return session.version < SETTING_SINCE and bool(session.value(_LOUD))


@contextmanager
def silent_transaction(session: Session) -> Iterator[None]:
    """A transaction in which no event trigger fires. Before PostgreSQL 17, a database can have only one such transaction at a time."""
    session.execute("BEGIN")
    try:
        enabled = session.rows(_ENABLED) if session.version < SETTING_SINCE else []
        # ALTER EVENT TRIGGER fires no event trigger itself.
        for trigger in enabled:
            session.execute(f"ALTER EVENT TRIGGER {quote(trigger['name'])} DISABLE")
        yield
        for trigger in enabled:
            session.execute(f"ALTER EVENT TRIGGER {quote(trigger['name'])} {trigger['mode']}")
        session.execute("COMMIT")
    except BaseException:
        session.execute("ROLLBACK")
        raise
