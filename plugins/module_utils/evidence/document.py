# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect the evidence of a database: what verify compares with the target.

The source's evidence is taken inside the snapshot that the dump reads. Every method (archive, stream, physical) writes
the same document.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

from ..common import restart
from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..common.evidence_rows import CouchdbProgress, IndexDocument, MatviewDocument, SequenceValue, TableDocument
from ..postgres import compression, large_objects, public_schema, role_plan
from ..postgres.connection import ConnectionSettings
from ..postgres.database import database_size, find_database, server
from ..postgres.extension_versions import installed_versions
from ..postgres.identifiers import qualified, quote, shown, sql_shown
from ..postgres.objects import left_out, read_objects
from ..postgres.relations import USER_SCHEMAS, Tables
from ..postgres.session import Session
from . import extension_rows
from .digest import TableDigest
from .leave_out import NOTHING, LeaveOut

# 2: objects by identity, without definitions.
FORMAT = 2

MATVIEW_SECONDS = 10

_SEQUENCES = """
SELECT n.nspname AS schema, c.relname AS name, s.seqincrement AS increment
FROM pg_catalog.pg_sequence AS s JOIN pg_catalog.pg_class AS c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND c.relpersistence <> 't'
  -- pg_dump carries the value of an extension's sequence only where the extension asks for that.
  AND (NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                   WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
       OR EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE c.oid = ANY (e.extconfig)))
ORDER BY 1, 2
"""

_MATVIEWS = """
SELECT n.nspname AS schema, c.relname AS name, c.relispopulated AS populated,
       c.oid::bigint AS oid, pg_catalog.pg_get_userbyid(c.relowner) AS owner
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' ORDER BY 1, 2
"""

_INDEXES = f"""
SELECT {sql_shown("n.nspname", "i.relname")} AS index, {sql_shown("tn.nspname", "t.relname")} AS table,
       pg_catalog.pg_relation_size(i.oid) AS bytes
FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace
JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid AND t.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE {USER_SCHEMAS} AND i.relpersistence <> 't' AND x.indisvalid ORDER BY 1
"""


def check_format(evidence: Evidence, root: Path) -> None:
    """Raise MigrationError ``evidence_format`` for evidence that another version of the collection wrote.

    root: folder of the archive, for the message.
    """
    if evidence.get("format") != FORMAT:
        raise MigrationError(
            f"Another version of this collection wrote the evidence in {root}, and this version can't compare it. "
            f"Dump again: {restart.command('dump')}",
            "evidence_format",
            path=str(root),
        )


def sequence_values(session: Session) -> dict[str, SequenceValue]:
    """The state of every sequence, by name."""
    found: dict[str, SequenceValue] = {}
    for sequence in session.rows(_SEQUENCES):
        row = session.row(f"SELECT last_value, is_called FROM {qualified(sequence['schema'], sequence['name'])}")
        found[shown(sequence["schema"], sequence["name"])] = {
            "last_value": row["last_value"],
            "is_called": row["is_called"],
            "increment": sequence["increment"],
        }
    return found


def put_sequences_back(session: Session, values: Mapping[str, SequenceValue]) -> None:
    """Set each sequence back to its state in ``values``, the result of ``sequence_values``."""
    now = sequence_values(session)
    for sequence in session.rows(_SEQUENCES):
        key = shown(sequence["schema"], sequence["name"])
        if key in values and values[key] != now.get(key):
            name = qualified(sequence["schema"], sequence["name"])
            session.rows(
                "SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s, %s)",
                [name, values[key]["last_value"], values[key]["is_called"]],
            )


def matviews(session: Session) -> list[MatviewDocument]:
    """Every materialized view with its number of rows."""
    found: list[MatviewDocument] = []
    for row in session.rows(_MATVIEWS):
        name = qualified(row["schema"], row["name"])
        rows = f"(SELECT pg_catalog.count(*) FROM {name})" if row["populated"] else "NULL::int8"
        try:
            counted = session.row(f"SELECT {rows} AS rows, pg_catalog.pg_table_size({int(row['oid'])}) AS bytes")
        except MigrationError as error:
            if error.code != "locked":
                raise
            counted = {"rows": None, "bytes": 0}
        found.append(
            {
                "matview": shown(row["schema"], row["name"]),
                "owner": row["owner"],
                "populated": row["populated"],
                "rows": counted["rows"],
                "bytes": counted["bytes"],
            }
        )
    return found


def _matviews_unheld(settings: ConnectionSettings) -> list[MatviewDocument]:
    """``matviews`` in a session of its own, which keeps no lock. Otherwise a plain REFRESH would wait for the whole dump."""
    with Session(settings, MATVIEW_SECONDS) as session:
        return matviews(session)


def couchdb_progress(session: Session) -> list[CouchdbProgress]:
    """couch2pg's stored sequence of each CouchDB database, from every table ``couchdb_progress``."""
    schemas = session.rows(
        "SELECT n.nspname AS schema FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n "
        "ON n.oid = c.relnamespace WHERE c.relname = 'couchdb_progress' AND c.relkind = 'r' ORDER BY 1"
    )
    return [
        {"source": row["source"], "seq": row["seq"]}
        for schema in schemas
        for row in session.rows(
            f"SELECT source::text AS source, seq::text AS seq FROM {quote(schema['schema'])}.couchdb_progress ORDER BY 1"
        )
    ]


def _indexes(session: Session) -> list[IndexDocument]:
    return [{"index": row["index"], "table": row["table"], "bytes": row["bytes"]} for row in session.rows(_INDEXES)]


def collect(
    session: Session, migration_id: str, snapshot: str, tables: Tables, leaving: LeaveOut = NOTHING
) -> Evidence:
    """The evidence of the session's database without the digests, which other sessions compute.

    tables: the source's tables, including those that ``leaving`` leaves out.
    """
    database = session.settings.database
    properties = find_database(session, database)
    if properties is None:
        raise AssertionError(f"connected to {database!r}, which pg_database doesn't list")
    if properties["encoding"] == "SQL_ASCII":
        # pg_dump writes UTF-8. Preflight has checked that the rows are valid UTF-8.
        properties["encoding"] = "UTF8"
    objects = read_objects(session)
    removed = leaving.remove(session, tables.kept, objects)
    extensions = installed_versions(session)
    sequences = sequence_values(session)
    properties["bytes"] = database_size(session, database)
    return {
        "format": FORMAT,
        "migration_id": migration_id,
        "taken_at": utc_now(),
        "snapshot": snapshot,
        "server": server(session),
        "database": properties,
        "roles": role_plan.needed(session, objects, properties),
        "extensions": {name: extensions[name] for name in extensions if name not in leaving.extensions},
        "objects": objects,
        "objects_left_out": left_out(session) + removed,
        "everybody_creates_in_public": public_schema.everybody_creates(session),
        "public_has_comment": public_schema.has_comment(session),
        "left_out": leaving.kept(tables).left_out,
        "extension_rows": extension_rows.collect(session, leaving.extensions),
        "sequences": {name: {"before": value} for name, value in sequences.items()},
        "matviews": _matviews_unheld(session.settings),
        "compression": compression.read(session),
        # For the progress of the restore.
        "indexes": _indexes(session),
        "large_objects": large_objects.digest(session),
        "couchdb_progress": couchdb_progress(session),
    }


def add_tables(evidence: Evidence, tables: Tables, digests: list[TableDigest], method: str) -> None:
    """Add counts and digests of the tables to the evidence."""
    sizes = {table.key: table.table_bytes for table in tables.kept}
    evidence["digest_method"] = method
    rows: list[TableDocument] = [{**digest.as_dict(), "bytes": sizes[digest.table]} for digest in digests]
    evidence["tables"] = sorted(rows, key=lambda row: row["table"])


def add_sequences_after(evidence: Evidence, values: Mapping[str, SequenceValue]) -> None:
    """Add the state of sequences at the end of the dump, because sequences ignore snapshots."""
    for name, value in values.items():
        if name in evidence["sequences"]:
            evidence["sequences"][name]["after"] = value
