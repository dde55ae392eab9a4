# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dashboard's role: that it can log in with the password that the dashboard has, and what it may read."""

from __future__ import annotations

from typing import Sequence

from ..common.errors import MigrationError
from ..couch2pg import role as couch2pg_role
from ..couch2pg.settings import PostgresPlace
from ..postgres.connection import Session

SHOWN = 5
_READABLE = """
SELECT n.nspname || '.' || c.relname AS name
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND pg_catalog.has_schema_privilege(%s, n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege(%s, c.oid, 'SELECT')
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""
_MAY_CONNECT = "SELECT pg_catalog.has_database_privilege(%s, pg_catalog.current_database(), 'CONNECT')"


def let_in(session: Session, place: PostgresPlace, password_hash: str, give: bool, write: bool) -> list[str]:
    """Give the role its login where it is missing and ``give`` says so; returns what was, or would be, given.

    Raises MigrationError ``dashboard_login``.
    """
    lacking = couch2pg_role.missing(session, place, password_hash)
    if not lacking:
        return []
    where = f"at {place.host}:{place.port}"
    if "CREATE" in lacking:
        raise MigrationError(
            f"There is no role {place.user!r} {where}: correct couch2pg_dashboard_passwords or couch2pg_role_map.",
            "dashboard_login",
        )
    if not give:
        raise MigrationError(
            f"{place.user!r} can't log in {where} with the password that is given for it. Correct couch2pg_dashboard_passwords "
            "(for the source, couch2pg_dashboard_source_passwords), or have the target's role get it: "
            "couch2pg_cutover_give_login: true.",
            "dashboard_login",
            lacking=lacking,
        )
    if write:
        couch2pg_role.give(session, place, password_hash, lacking)
    return lacking


def readable(session: Session, role: str) -> list[str]:
    """What the role may read in this database, members of extensions left out. Raises MigrationError ``dashboard_grants``."""
    if not session.value(_MAY_CONNECT, [role]):
        raise MigrationError(
            f"The role {role!r} may not connect to {session.settings.database!r} at {session.settings.place}: "
            "GRANT CONNECT ON DATABASE to it.",
            "dashboard_grants",
        )
    return [row["name"] for row in session.rows(_READABLE, [role, role])]


def compare(role: str, expected: Sequence[str], found: Sequence[str], place: str) -> None:
    """Raises MigrationError ``dashboard_grants`` when something that is expected may not be read."""
    lacking = sorted(set(expected) - set(found))
    if lacking:
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        raise MigrationError(
            f"The role {role!r} may read on the source, but not at {place}: {', '.join(lacking[:SHOWN])}{more}. "
            "GRANT SELECT on these to it there (and USAGE on their schema), then run again.",
            "dashboard_grants",
            lacking=lacking,
        )
