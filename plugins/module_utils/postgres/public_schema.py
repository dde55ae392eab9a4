# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The right of every role to create in schema public, which every database has up to PostgreSQL 14.

couch2pg relies on it where another role owns the database. pg_dump before 15 assumes the right and doesn't dump
it, but a new database of PostgreSQL 15 or later lacks it.
"""

from __future__ import annotations

from . import event_triggers
from .identifiers import quote
from .session import Session

# ``aclexplode`` shows PUBLIC as 0.
_EVERYBODY_CREATES = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_namespace AS n
    CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a
    WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE')
"""


_OF_ANOTHER = """
SELECT 1 AS one FROM pg_catalog.pg_namespace WHERE nspname = 'public' AND pg_catalog.pg_get_userbyid(nspowner) <> %s
"""


# The owner that schema public has in a new database; no row when it has that owner already, or this role may not change the owner.
_USUAL_OWNER = """
SELECT u.rolname AS owner FROM pg_catalog.pg_namespace AS n
CROSS JOIN LATERAL (SELECT r.oid, r.rolname FROM pg_catalog.pg_roles AS r WHERE r.rolname = 'pg_database_owner' OR r.oid = 10
                    ORDER BY r.oid = 10 LIMIT 1) AS u
WHERE n.nspname = 'public' AND n.nspowner NOT IN (10, u.oid)
  AND pg_catalog.pg_has_role(n.nspowner, 'USAGE') AND pg_catalog.pg_has_role(u.oid, 'USAGE')
"""


def everybody_creates(session: Session) -> bool:
    """Whether every role may create in schema public of the session's database."""
    return bool(session.value(_EVERYBODY_CREATES))


def carry_over(session: Session, source_everybody_creates: bool, owner: str = "") -> None:
    """Give schema public the owner and the right of PUBLIC that it has on the source, as pg_dump 15 and later does.

    owner: the source's owner as ``objects.read_objects`` returns it; the role must exist. Empty: don't change the owner. pg_dump 15 and
    later dumps the superuser of an older source as the owner. That role may be an ordinary one on the target, and must not own the schema.
    """
    event_triggers.silence(session)
    if owner == "pg_database_owner":
        for row in session.rows(_USUAL_OWNER):
            session.execute(f"ALTER SCHEMA public OWNER TO {quote(row['owner'])}")
    elif owner and session.rows(_OF_ANOTHER, [owner]):
        session.execute(f"ALTER SCHEMA public OWNER TO {quote(owner)}")
    if source_everybody_creates and not everybody_creates(session):
        session.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
