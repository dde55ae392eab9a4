# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a database was changed since it was read, without reading its rows again.

Rows: the server counts the rows that were inserted, updated and deleted in each table (cumulative statistics), and TRUNCATE or a
rewrite gives a table another file. A session reports its counts at the latest when it ends. So the counts are complete when
no other session is connected. Schema: every change writes new row versions into the catalogs. Nothing here depends on how a server prints
an object.
"""

from __future__ import annotations

import time
from typing import Mapping, TypedDict

from .database import find_database
from .identifiers import quote, sql_shown
from .relations import USER_SCHEMAS
from .session import Session

# Before PostgreSQL 15, a separate process (the statistics collector) collects the counts, every 500 ms.
SHARED_SINCE = 150000
COLLECTOR_SECONDS = 1.0

_TABLES = f"""
SELECT c.oid::bigint AS oid, {sql_shown("n.nspname", "c.relname")} AS table, pg_catalog.pg_relation_filenode(c.oid)::bigint AS file,
       pg_catalog.pg_stat_get_tuples_inserted(c.oid) AS inserted, pg_catalog.pg_stat_get_tuples_updated(c.oid) AS updated,
       pg_catalog.pg_stat_get_tuples_deleted(c.oid) AS deleted
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {USER_SCHEMAS}
   OR c.oid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass
"""
# When the counts were last reset: by a crash, which also resets those of the background writer, or by a user.
_COUNTING = """
SELECT (SELECT stats_reset::text FROM pg_catalog.pg_stat_bgwriter) AS server,
       (SELECT stats_reset::text FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database()) AS database
"""
# Settings that switch track_counts off: for a role, for a database, or for both; NULL stands for all.
_UNCOUNTED = """
SELECT CASE WHEN s.setrole <> 0 THEN r.rolname END AS role, d.datname AS database
FROM pg_catalog.pg_db_role_setting AS s CROSS JOIN pg_catalog.unnest(s.setconfig) AS c(setting)
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
WHERE CASE WHEN c.setting LIKE 'track_counts=%%' THEN NOT pg_catalog.split_part(c.setting, '=', 2)::bool END
  AND (s.setdatabase = 0 OR d.datname = %s) ORDER BY 1, 2
"""
_COUNTED_BY_DEFAULT = "SELECT reset_val = 'on' FROM pg_catalog.pg_settings WHERE name = 'track_counts'"
# Without pg_statistic*, which ANALYZE writes, and without pg_largeobject, whose rows are counted like those of tables.
_CATALOGS = """
SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind = 'r' AND NOT c.relisshared
  AND c.relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject')
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT') ORDER BY 1
"""
_VERSIONS = """
SELECT '{catalog}' AS catalog,
       pg_catalog.concat_ws(' ', pg_catalog.count(*), coalesce(pg_catalog.sum(pg_catalog.hashtext(xmin::text || ctid::text)), 0)) AS seen
FROM pg_catalog.{catalog}
"""
_SEQUENCES = """
SELECT pg_catalog.md5(pg_catalog.string_agg(s.seqrelid::text || ' ' || coalesce(CASE
    WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT') THEN pg_catalog.pg_sequence_last_value(s.seqrelid)
END::text, ''), ',' ORDER BY s.seqrelid))
FROM pg_catalog.pg_sequence AS s JOIN pg_catalog.pg_class AS c ON c.oid = s.seqrelid WHERE c.relpersistence <> 't'
"""
_ROLES = """
SELECT pg_catalog.md5(coalesce((SELECT pg_catalog.string_agg(r::text, ',' ORDER BY r::text) FROM pg_catalog.pg_roles AS r), '')
    || coalesce((SELECT pg_catalog.string_agg(m::text, ',' ORDER BY m::text) FROM pg_catalog.pg_auth_members AS m), ''))
"""
_WRITTEN = "SELECT tup_inserted + tup_updated + tup_deleted AS n FROM pg_catalog.pg_stat_database WHERE datid = %s"


class Counting(TypedDict):
    """When the counts were last reset, on the server and in the database; on: whether every session is counted."""

    server: str | None
    database: str | None
    on: bool


class TableCounts(TypedDict):
    """A table ``schema.name``, its file, and the rows that were inserted, updated and deleted in it."""

    table: str
    file: int | None
    inserted: int
    updated: int
    deleted: int


class Counts(TypedDict, total=False):
    """What ``rows_changed`` compares: the tables by oid. Empty where it isn't known."""

    counting: Counting
    tables: dict[str, TableCounts]


class DatabaseState(Counts, total=False):
    """What ``changed_parts`` compares.

    schema: number and hash of the row versions of each catalog; sequences, roles: a hash; properties: as in pg_database.
    """

    schema: dict[str, str]
    sequences: str | None
    properties: dict[str, object]
    roles: str


def rows_written(session: Session, oid: int) -> int:
    """The number of rows written to the database ``oid`` since its counts were last reset, rows of its catalogs included."""
    _await_collector(session)
    return int(session.value(_WRITTEN, [oid]) or 0)


def uncounted(session: Session) -> list[str]:
    """SQL statements that switch track_counts on for all sessions in this session's database; empty when it is on."""
    statements = []
    for row in session.rows(_UNCOUNTED, [session.settings.database]):
        role, database = row["role"], row["database"]
        whom = f"ROLE {quote(role) if role else 'ALL'}" if role or not database else f"DATABASE {quote(database)}"
        inside = f" IN DATABASE {quote(database)}" if role and database else ""
        statements.append(f"ALTER {whom}{inside} RESET track_counts")
    if not statements and not session.value(_COUNTED_BY_DEFAULT):
        statements = ["ALTER SYSTEM SET track_counts = on", "SELECT pg_reload_conf()"]
    return statements


def read_counts(session: Session) -> Counts:
    """What the server has counted so far. Call it before the rows are read."""
    _await_collector(session)
    reset = session.row(_COUNTING)
    return {
        "counting": {"server": reset["server"], "database": reset["database"], "on": not uncounted(session)},
        "tables": {
            str(row["oid"]): {
                "table": row["table"],
                "file": row["file"],
                "inserted": row["inserted"],
                "updated": row["updated"],
                "deleted": row["deleted"],
            }
            for row in session.rows(_TABLES)
        },
    }


def read_state(session: Session) -> DatabaseState:
    """The state of the session's database. Call it before the rows and the schema are read."""
    catalogs = [str(row["quote_ident"]) for row in session.rows(_CATALOGS)]
    versions = " UNION ALL ".join(f"({_VERSIONS.format(catalog=name)})" for name in catalogs)
    database = find_database(session, session.settings.database) or {}
    return {
        **read_counts(session),
        # Large catalogs are read in parallel, and the answers come in any order.
        "schema": {row["catalog"]: row["seen"] for row in session.rows(versions)},
        "sequences": session.value(_SEQUENCES),
        "properties": {key: value for key, value in database.items() if key not in ("name", "oid")},
        "roles": session.value(_ROLES),
    }


def rows_changed(before: Counts, now: Counts) -> set[str]:
    """The tables of ``now`` (``schema.name``) whose rows may have changed since ``before``; all if the counts don't show it."""
    tables = {oid: row["table"] for oid, row in now["tables"].items()}
    if before.get("counting") != now["counting"] or not now["counting"]["on"]:
        return set(tables.values())
    # This compares the names, too: two tables may have exchanged their names.
    return {name for oid, name in tables.items() if before["tables"].get(oid) != now["tables"][oid]}


def changed_parts(before: DatabaseState, now: DatabaseState) -> list[str]:
    """What may have changed in the database since ``before``, in words; empty when nothing has."""
    parts = [f"rows of {name}" for name in sorted(rows_changed(before, now))]
    names = {
        "schema": "the schema",
        "sequences": "sequences",
        "properties": "properties of the database",
        "roles": "roles",
    }
    old: Mapping[str, object] = before
    new: Mapping[str, object] = now
    return parts + [words for name, words in names.items() if old.get(name) != new[name]]


def _await_collector(session: Session) -> None:
    """Wait until the server has counted the writes of sessions that have ended."""
    if session.version < SHARED_SINCE:
        time.sleep(COLLECTOR_SECONDS)
