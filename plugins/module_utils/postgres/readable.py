# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role may read in a database, compared with what it may read on another server."""

from __future__ import annotations

import re
from typing import Sequence

from ..common.errors import MigrationError
from .identifiers import quote
from .session import Session

SHOWN = 5
_SCHEMA = re.compile(r'"(?:[^"]|"")*"|[^."]+')
_READABLE = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS name
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND pg_catalog.has_schema_privilege(%s, n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege(%s, c.oid, 'SELECT')
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""
_MAY_CONNECT = "SELECT pg_catalog.has_database_privilege(%s, pg_catalog.current_database(), 'CONNECT')"


def readable(session: Session, role: str) -> list[str]:
    """The tables and views that the role may read here, without members of extensions.

    Raises MigrationError ``grants`` when the role may not connect to the database.
    """
    if not session.value(_MAY_CONNECT, [role]):
        raise MigrationError(
            f"The role {role!r} may not connect to {session.settings.database!r} at {session.settings.place}: "
            f"GRANT CONNECT ON DATABASE {quote(session.settings.database)} TO {quote(role)};",
            "grants",
        )
    return [row["name"] for row in session.rows(_READABLE, [role, role])]


def check_readable_as_before(role: str, expected: Sequence[str], found: Sequence[str], place: str) -> None:
    """Raise MigrationError ``grants`` when the role may not read everything that is ``expected``."""
    lacking = sorted(set(expected) - set(found))
    if lacking:
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        schemas = ", ".join(sorted({schema[0] for name in lacking if (schema := _SCHEMA.match(name))}))
        raise MigrationError(
            f"The role {role!r} may not read at {place} what it may read on the source: {', '.join(lacking[:SHOWN])}{more}. "
            f"In the database there: GRANT USAGE ON SCHEMA {schemas} TO {quote(role)}; "
            f"GRANT SELECT ON {', '.join(lacking)} TO {quote(role)}; then run again.",
            "grants",
            lacking=lacking,
        )
