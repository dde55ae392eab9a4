# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings that a role has when it logs in to a database. SET ROLE alone doesn't apply them."""

from __future__ import annotations

from contextlib import suppress
from typing import Collection

from ..common.errors import MigrationError
from . import event_triggers
from .session import SET_AT_START, Session

# These keep the session's values. Otherwise a source that is frozen (default_transaction_read_only) or audited would stop its work.
STAY_OURS = ("default_transaction_read_only", "event_triggers", "lc_messages")
TIMEOUTS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)

# In PostgreSQL's precedence, the weakest first: ALTER ROLE ALL, ALTER DATABASE, ALTER ROLE, ALTER ROLE IN DATABASE.
_SETTINGS = """
SELECT pg_catalog.unnest(s.setconfig) AS setting
FROM pg_catalog.pg_db_role_setting AS s
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
  AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s))
ORDER BY s.setrole <> 0, s.setdatabase <> 0
"""
_OWN = """
SELECT pg_catalog.unnest(s.setconfig) AS setting FROM pg_catalog.pg_db_role_setting AS s
WHERE s.setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)
"""
_SERVER_DEFAULT = """
SELECT coalesce((SELECT f.setting FROM pg_catalog.pg_file_settings AS f
                 WHERE f.name = s.name AND f.applied ORDER BY f.seqno DESC LIMIT 1), s.boot_val)
FROM pg_catalog.pg_settings AS s WHERE s.name = %s
"""
_BUILT_IN_DEFAULT = "SELECT boot_val FROM pg_catalog.pg_settings WHERE name = %s"


def of_role(session: Session, role: str) -> dict[str, str]:
    """The settings that the server gives to ``role`` when it logs in to the session's database."""
    return _by_name(session.rows(_SETTINGS, [role]))


def assume(session: Session, role: str, ours: Collection[str] = ()) -> None:
    """Replace the session's settings by those of a login of ``role``. The session's role doesn't change.

    ours: further settings of ``session.pinned``, besides ``STAY_OURS``, that keep the session's values.
    """
    settings = of_role(session, role)
    # The settings with which this session started, and to which RESET returns: those of its own role, and SET_AT_START.
    began = {*_by_name(session.rows(_OWN)), *SET_AT_START}
    defaults = {name: _server_default(session, name) for name in sorted(began - set(settings))}
    stay = {name: session.pinned[name] for name in (*STAY_OURS, *ours) if name in session.pinned}
    session.execute("RESET ALL")
    for name, value in {**defaults, **settings, **stay}.items():
        if value is not None and name != "role":
            # A login also ignores a setting that the server doesn't know or that the role may not set.
            with suppress(MigrationError):
                session.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])
    event_triggers.silence(session)


def _by_name(rows: list[dict[str, str]]) -> dict[str, str]:
    return dict(row["setting"].split("=", 1) for row in rows)


def _server_default(session: Session, name: str) -> str | None:
    """The server's default of a setting. Only superusers may read its configuration files; for others, it is the built-in default."""
    for statement in (_SERVER_DEFAULT, _BUILT_IN_DEFAULT):
        with suppress(MigrationError):
            rows = session.rows(statement, [name])
            return next((value for row in rows for value in row.values()), None)
    return None
