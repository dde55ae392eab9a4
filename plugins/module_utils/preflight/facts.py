# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about a server and one of its databases: versions, settings, sizes, owners, roles, matviews."""

from __future__ import annotations

from typing import Any

from ..common.errors import MigrationError
from ..common.evidence_document import DatabaseProperties
from ..postgres import matview_graph
from ..postgres.connection import Session
from ..postgres.database import database_size, databases, find_database, roles, server
from ..postgres.objects import Objects, read_objects, roles_named
from ..postgres.privileges import grantee
from ..postgres.relations import EXTENSION_MEMBER, USER_SCHEMAS, list_tables

# Settings that affect the speed and safety of dump and restore, or that a new server should have too.
SETTINGS = (
    "autovacuum",
    "block_size",
    "data_checksums",
    "data_directory",
    "default_text_search_config",
    "effective_cache_size",
    "fsync",
    "full_page_writes",
    "hot_standby_feedback",
    "lc_messages",
    "listen_addresses",
    "maintenance_work_mem",
    "max_connections",
    "max_parallel_maintenance_workers",
    "max_standby_streaming_delay",
    "max_wal_size",
    "max_worker_processes",
    "password_encryption",
    "port",
    "server_encoding",
    "shared_buffers",
    "shared_preload_libraries",
    "ssl",
    "synchronous_commit",
    "temp_tablespaces",
    "wal_level",
    "work_mem",
)

# pg_settings omits settings that are hidden from this role.
_SETTINGS = """
SELECT name, pg_catalog.current_setting(name) AS value FROM pg_catalog.pg_settings WHERE name = ANY(%s) ORDER BY name
"""

_SIZES = f"""
SELECT n.nspname AS schema, c.relname AS name,
       CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'm' THEN 'matview'
           WHEN 'v' THEN 'view' WHEN 'f' THEN 'foreign table' ELSE 'sequence' END AS kind,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner, c.reltuples::int8 AS estimated_rows,
       pg_catalog.pg_relation_size(c.oid) AS heap_bytes,
       CASE WHEN c.reltoastrelid = 0 THEN 0 ELSE pg_catalog.pg_total_relation_size(c.reltoastrelid) END AS toast_bytes,
       pg_catalog.pg_indexes_size(c.oid) AS index_bytes,
       pg_catalog.pg_total_relation_size(c.oid) AS total_bytes,
       t.spcname AS tablespace, {EXTENSION_MEMBER.format(catalog="pg_class", oid="c.oid")} AS extension_member
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_tablespace AS t ON t.oid = c.reltablespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S') AND c.relpersistence <> 't' AND {USER_SCHEMAS}
ORDER BY total_bytes DESC, n.nspname, c.relname
"""

_INDEXES = f"""
SELECT n.nspname AS schema, c.relname AS name, tn.nspname || '.' || t.relname AS relation,
       i.indisunique AS unique, i.indisprimary AS primary, i.indisvalid AS valid,
       pg_catalog.pg_relation_size(c.oid) AS bytes, pg_catalog.pg_get_indexdef(c.oid) AS definition
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE {USER_SCHEMAS} AND t.relpersistence <> 't'
ORDER BY n.nspname, c.relname
"""

_READS = """
WITH RECURSIVE direct(reader, read) AS (
    SELECT DISTINCT r.ev_class, d.refobjid
    FROM pg_catalog.pg_rewrite AS r
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
), reached(reader, read) AS (
    SELECT reader, read FROM direct
  UNION
    SELECT reached.reader, direct.read FROM reached JOIN direct ON direct.reader = reached.read
)
SELECT rn.nspname || '.' || r.relname AS matview,
       pg_catalog.array_agg(n.nspname || '.' || c.relname ORDER BY n.nspname, c.relname) AS reads
FROM reached JOIN pg_catalog.pg_class AS r ON r.oid = reached.reader AND r.relkind = 'm'
JOIN pg_catalog.pg_namespace AS rn ON rn.oid = r.relnamespace
JOIN pg_catalog.pg_class AS c ON c.oid = reached.read JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
GROUP BY 1 ORDER BY 1
"""

_EXTENSIONS = """
SELECT x.extname AS name, x.extversion AS version, n.nspname AS schema
FROM pg_catalog.pg_extension AS x JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace ORDER BY x.extname
"""

# Collations of columns other than the database's default.
_COLLATIONS = f"""
SELECT DISTINCT cn.nspname AS schema, o.collname AS name, o.collprovider::text AS provider,
       o.collcollate AS lc_collate, o.collversion AS version,
       pg_catalog.pg_collation_actual_version(o.oid) AS actual_version
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_collation AS o ON o.oid = a.attcollation
JOIN pg_catalog.pg_namespace AS cn ON cn.oid = o.collnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMAS}
  AND o.collname NOT IN ('default', 'C', 'POSIX')
ORDER BY 1, 2
"""


def collect(session: Session) -> dict[str, Any]:
    """All facts about the session's server and database; sizes are in bytes."""
    name = session.settings.database
    properties = find_database(session, name)
    if properties is None:
        raise AssertionError(f"connected to {name!r}, which pg_database doesn't list")
    objects = read_objects(session)
    relations = session.rows(_SIZES)
    tables = list_tables(session)
    return {
        "server": dict(server(session), settings=_settings(session)),
        "databases": _databases(session),
        "database": dict(properties, bytes=database_size(session, name)),
        "relations": relations,
        "totals": _totals(relations),
        "left_out": tables.left_out,
        "indexes": session.rows(_INDEXES),
        "matviews": _matviews(session),
        "extensions": {"installed": session.rows(_EXTENSIONS), "available": _available_extensions(session)},
        "collations": session.rows(_COLLATIONS),
        "owners_and_grants": _owners_and_grants(objects),
        "roles": roles(session, _roles_involved(session, objects, properties)),
    }


def _settings(session: Session) -> dict[str, str]:
    """The values of SETTINGS as SHOW prints them, without those that are hidden from this role."""
    return {row["name"]: row["value"] for row in session.rows(_SETTINGS, [list(SETTINGS)])}


def _available_extensions(session: Session) -> dict[str, str] | None:
    """Available extensions with their versions; None when the server can't read an extension's control file."""
    try:
        found = session.rows(
            "SELECT name, default_version AS version FROM pg_catalog.pg_available_extensions ORDER BY name"
        )
    except MigrationError as error:
        if error.code != "sql":
            raise
        return None
    return {row["name"]: row["version"] for row in found}


def _databases(session: Session) -> list[dict[str, Any]]:
    """Every database with its size in bytes, None if this role may not connect to it."""
    sizes = {
        row["name"]: row["bytes"]
        for row in session.rows(
            "SELECT datname AS name, pg_catalog.pg_database_size(oid) AS bytes FROM pg_catalog.pg_database "
            "WHERE pg_catalog.has_database_privilege(oid, 'CONNECT') "
            "OR pg_catalog.pg_has_role('pg_read_all_stats', 'MEMBER')"
        )
    }
    return [
        {
            "name": row["name"],
            "owner": row["owner"],
            "encoding": row["encoding"],
            "lc_collate": row["lc_collate"],
            "is_template": row["is_template"],
            "bytes": sizes.get(row["name"]),
        }
        for row in databases(session)
    ]


def _totals(relations: list[dict[str, Any]]) -> dict[str, int]:
    tables = [row for row in relations if row["kind"] == "table"]
    return {
        "tables": len(tables),
        "heap_bytes": sum(row["heap_bytes"] for row in tables),
        "toast_bytes": sum(row["toast_bytes"] for row in tables),
        "index_bytes": sum(row["index_bytes"] for row in tables),
        "matview_bytes": sum(row["total_bytes"] for row in relations if row["kind"] == "matview"),
    }


def _matviews(session: Session) -> list[dict[str, Any]]:
    """Materialized views in the order in which they can be refreshed."""
    graph = {matview.key: matview for matview in matview_graph.read_graph(session)}
    reads = {row["matview"]: row["reads"] for row in session.rows(_READS)}
    return [
        {
            "matview": key,
            "owner": graph[key].owner,
            "populated": graph[key].populated,
            "bytes": graph[key].bytes,
            "has_unique_index": graph[key].has_unique_index,
            "level": level,
            "depends_on": list(graph[key].depends_on),
            "reads": reads.get(key, []),
            "definition": graph[key].definition,
        }
        for level, keys in enumerate(matview_graph.order(list(graph.values())))
        for key in keys
    ]


def _owners_and_grants(objects: Objects) -> list[dict[str, Any]]:
    """The owner and grants of each object."""
    return [
        {
            "kind": kind,
            "name": identity,
            "owner": properties["owner"],
            "grants": properties.get("grants") or [],
        }
        for kind, entries in objects.items()
        for identity, properties in sorted(entries.items())
        if "owner" in properties
    ]


def _roles_involved(session: Session, objects: Objects, properties: DatabaseProperties) -> set[str]:
    """Roles that own something in the database, have grants, or have settings for it."""
    names = roles_named(session, objects) | {properties["owner"]}
    names.update(grantee(text) for text in properties["grants"])
    names.update(properties["role_settings"] or {})
    return {name for name in names if not name.startswith("pg_")} - {"PUBLIC"}
