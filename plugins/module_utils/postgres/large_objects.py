# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large objects: their number, and one digest of their content."""

from __future__ import annotations

from ..common.evidence_rows import LargeObjects
from .identifiers import literal
from .session import Session

# Read in pieces, because a large object can exceed the maximum size of a value. Holes read as zeros, as in pg_dump.
_PIECE = 256 * 1024
_DIGEST = f"""
WITH RECURSIVE piece(loid, number, hash, goes_on) AS (
    SELECT o.oid, 0::int8, d.hash, d.goes_on
    FROM pg_catalog.pg_largeobject_metadata AS o CROSS JOIN LATERAL (
        SELECT pg_catalog.md5(x.data) AS hash, pg_catalog.length(x.data) = {_PIECE} AS goes_on
        FROM (SELECT pg_catalog.lo_get(o.oid, 0, {_PIECE}) AS data OFFSET 0) AS x OFFSET 0) AS d
  UNION ALL
    SELECT p.loid, p.number + 1, d.hash, d.goes_on
    FROM piece AS p CROSS JOIN LATERAL (
        SELECT pg_catalog.md5(x.data) AS hash, pg_catalog.length(x.data) = {_PIECE} AS goes_on
        FROM (SELECT pg_catalog.lo_get(p.loid, (p.number + 1) * {_PIECE}, {_PIECE}) AS data OFFSET 0) AS x OFFSET 0) AS d
    WHERE p.goes_on
)
SELECT pg_catalog.count(*) FILTER (WHERE number = 0) AS count, coalesce(pg_catalog.sum(
    ('x' || pg_catalog.substr(pg_catalog.md5(pg_catalog.concat_ws(':', loid, number, hash)), 1, 16))
    ::pg_catalog.bit(64)::pg_catalog.int8), 0) AS total
FROM piece
"""

# Large objects that the role neither owns nor was granted: it can't read them, and pg_dump would fail.
_UNREADABLE = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata AS o
WHERE NOT pg_catalog.pg_has_role(o.lomowner, 'USAGE') AND NOT EXISTS (
    SELECT FROM pg_catalog.aclexplode(o.lomacl) AS a
    WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
"""


def reading(role: str) -> str:
    """A statement that lets ``role`` read every large object."""
    return (
        "DO $$ BEGIN EXECUTE (SELECT pg_catalog.string_agg(pg_catalog.format('GRANT SELECT ON LARGE OBJECT %s TO %I', oid, "
        f"{literal(role)}), '; ') FROM pg_catalog.pg_largeobject_metadata); END $$;"
    )


def digest(session: Session) -> LargeObjects:
    """Number and digest of all large objects in the session's snapshot."""
    row = session.row(_DIGEST)
    return {"count": row["count"], "digest": format(int(row["total"]) % (1 << 128), "032x")}


def count(session: Session) -> int:
    """The number of large objects."""
    return int(session.value("SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata"))


def unreadable(session: Session) -> int:
    """The number of large objects that the session's role may not read."""
    return int(session.value(_UNREADABLE))
