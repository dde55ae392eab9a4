# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The right of every role to create in schema public, which every database has up to PostgreSQL 14.

couch2pg relies on it where another role owns the database. pg_dump before 15 assumes the right and doesn't dump
it, but a new database of PostgreSQL 15 or later lacks it.
"""

from __future__ import annotations

from typing import NamedTuple

from ..common.evidence_document import Evidence
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


_MAY_COMMENT = "SELECT pg_catalog.pg_has_role(nspowner, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = 'public'"
_COMMENT = """
SELECT pg_catalog.obj_description(n.oid, 'pg_namespace') IS NOT NULL FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'public'
"""


class PublicSchema(NamedTuple):
    """What pg_dump leaves out, depending on its version and on the source's.

    everybody_creates: whether every role may create in it. owner: as ``objects.read_objects`` tells it. comment: whether it has one;
    where it was removed, as with the schema that was dropped and created, pg_dump --quote-all-identifiers dumps nothing.
    """

    everybody_creates: bool
    owner: str = ""
    comment: bool = True

    @classmethod
    def of_evidence(cls, evidence: Evidence) -> PublicSchema:
        """On the source. Evidence of earlier versions doesn't tell of the comment."""
        owner = evidence["objects"]["schema"].get("public", {}).get("owner", "")
        return cls(evidence["everybody_creates_in_public"], owner, evidence.get("public_has_comment", True))


def has_comment(session: Session) -> bool:
    """Whether schema public has a comment, as in a new database; also where there is no such schema."""
    return session.value(_COMMENT) is not False


def everybody_creates(session: Session) -> bool:
    """Whether every role may create in schema public of the session's database."""
    return bool(session.value(_EVERYBODY_CREATES))


def drop_comment(session: Session) -> None:
    """Remove the comment of schema public, which pg_upgrade gives back where it was removed on the source."""
    event_triggers.silence(session)
    session.execute("COMMENT ON SCHEMA public IS NULL")


def carry_over(session: Session, source: PublicSchema) -> None:
    """Grant every role what it had on the source, and give the schema to its owner there, as pg_dump 15 and later does.

    The owner must exist; an empty one leaves the schema's owner as it is. pg_dump 15 and later names the superuser of an older source,
    which may be an ordinary role on the target: that role does not get the schema.
    """
    event_triggers.silence(session)
    # Nobody else may, and nothing depends on it.
    if not source.comment and session.value(_MAY_COMMENT):
        session.execute("COMMENT ON SCHEMA public IS NULL")
    if source.owner == "pg_database_owner":
        for row in session.rows(_USUAL_OWNER):
            session.execute(f"ALTER SCHEMA public OWNER TO {quote(row['owner'])}")
    elif source.owner and session.rows(_OF_ANOTHER, [source.owner]):
        session.execute(f"ALTER SCHEMA public OWNER TO {quote(source.owner)}")
    if source.everybody_creates and not everybody_creates(session):
        session.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
