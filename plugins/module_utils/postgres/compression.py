# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How large values are compressed while rows are loaded.

lz4 takes a fraction of the time of pglz, PostgreSQL's default, but makes some texts longer. The length matters for keys of an index: a key
can have at most a third of a page, and an index stores a compressed value as it is in the table. So only columns whose values can't be
keys are loaded with lz4. Keys are compressed as on the source, and have the same length as there.
"""

from __future__ import annotations

from ..common.evidence_document import Compression
from . import event_triggers
from .identifiers import quote, sql_shown
from .privileges import not_member
from .relations import USER_SCHEMAS
from .session import Session

SETTING = "default_toast_compression"
# The only compression before PostgreSQL 14, which has no such setting.
PGLZ = "pglz"
FAST = "lz4"
# For an archive whose evidence contains no compression.
UNKNOWN = Compression(default="", keys={}, others={})


# A key is either a new value, which is compressed when the index is built, or the stored value of a column, perhaps of another table that a
# view or a function reads. Such a column has the key's type, or a type that PostgreSQL uses for it without a conversion.
_COLUMNS = f"""
WITH RECURSIVE keys(oid) AS (
    SELECT a.atttypid FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS c ON c.oid = x.indrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indexrelid WHERE {USER_SCHEMAS}
  UNION
    SELECT same.oid FROM keys AS k CROSS JOIN LATERAL (
        SELECT t.typbasetype FROM pg_catalog.pg_type AS t WHERE t.oid = k.oid AND t.typtype = 'd'
        UNION ALL SELECT t.oid FROM pg_catalog.pg_type AS t WHERE t.typbasetype = k.oid AND t.typtype = 'd'
        UNION ALL SELECT w.castsource FROM pg_catalog.pg_cast AS w WHERE w.casttarget = k.oid AND w.castmethod = 'b'
        UNION ALL SELECT w.casttarget FROM pg_catalog.pg_cast AS w WHERE w.castsource = k.oid AND w.castmethod = 'b'
    ) AS same(oid)
)
SELECT {sql_shown("n.nspname", "c.relname")} AS table, a.attname AS column, a.atttypid IN (SELECT k.oid FROM keys AS k) AS key
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {USER_SCHEMAS} AND {not_member("pg_catalog.pg_class", "c.oid")}
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage IN ('x', 'm')
  AND coalesce(to_jsonb(a) ->> 'attcompression', '') = '' ORDER BY 1, a.attnum
"""
_SERVER = "SELECT setting, source = 'default' AS nobody_chose, enumvals FROM pg_catalog.pg_settings WHERE name = %s"
# pg_attribute.attcompression is the first letter of the compression: p or l.
_AS_THEY_ARE = f"""
SELECT {sql_shown("n.nspname", "c.relname")} AS table, pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS sql,
       pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND {USER_SCHEMAS} AND a.attnum > 0 AND NOT a.attisdropped AND a.attcompression::text = ANY (%s)
GROUP BY 1, 2 ORDER BY 1
"""


def read(session: Session) -> Compression:
    """The default compression of the source's database, and the columns that use it."""
    found = Compression(default=PGLZ, keys={}, others={})
    for row in session.rows(_SERVER, [SETTING]):
        found["default"] = row["setting"]
    for row in session.rows(_COLUMNS):
        found["keys" if row["key"] else "others"].setdefault(row["table"], []).append(row["column"])
    return found


def begin(session: Session, source: Compression) -> None:
    """Before rows are loaded: compress keys as on the source, and other columns with lz4 where the target's server has it.

    If the target's ``default_toast_compression`` was set on purpose, columns that can't be keys use its value instead of lz4.
    """
    for server in session.rows(_SERVER, [SETTING]):
        present, known = server["setting"], server["enumvals"]
        fast = FAST if server["nobody_chose"] and FAST in known else present
        for kind, wanted in (("keys", source["default"]), ("others", fast)):
            if wanted != present and wanted in known:
                _set(session, source[kind], [""], wanted)  # type: ignore[literal-required]


def end(session: Session, source: Compression) -> None:
    """After rows are loaded: remove the compression that ``begin`` set on columns, so that they use the default as on the source."""
    if session.rows(_SERVER, [SETTING]):
        for columns in (source["keys"], source["others"]):
            _set(session, columns, [FAST[0], PGLZ[0]], "default")


def for_indexes(session: Session, source: Compression) -> dict[str, str]:
    """The settings of a session that builds indexes: new keys are compressed as on the source."""
    known = [row["enumvals"] for row in session.rows(_SERVER, [SETTING])]
    return {SETTING: source["default"]} if known and source["default"] in known[0] else {}


def _set(session: Session, columns: dict[str, list[str]], present: list[str], wanted: str) -> None:
    event_triggers.silence(session)
    for row in session.rows(_AS_THEY_ARE, [present]):
        names = [name for name in row["columns"] if name in columns.get(row["table"], [])]
        if names:
            changes = ", ".join(f"ALTER COLUMN {quote(name)} SET COMPRESSION {wanted}" for name in names)
            session.execute(f"ALTER TABLE ONLY {row['sql']} {changes}")
