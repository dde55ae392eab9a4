# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows in tables that belong to extensions: pg_dump dumps those that the extension calls its configuration.

CREATE EXTENSION may insert other rows, which depend on the extension's version. So verify checks whether the target has every dumped row,
not whether the tables are the same.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Collection, Iterable, Mapping, TypedDict

from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.evidence_rows import ExtensionTable
from ..postgres.identifiers import qualified, quote, shown
from ..postgres.relations import USER_SCHEMAS
from ..postgres.session import Session

# Of a table with more rows, only the number of rows is kept.
MOST_HASHES = 20000
_TABLES = f"""
SELECT n.nspname AS schema, c.relname AS name, e.extname AS extension, c.oid = ANY (e.extconfig) IS TRUE AS carried, (
    SELECT e.extcondition[k.number] FROM pg_catalog.unnest(e.extconfig) WITH ORDINALITY AS k(oid, number)
    WHERE k.oid = c.oid) AS condition, ARRAY(
    SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      AND coalesce(to_jsonb(a) ->> 'attgenerated', '') = '' ORDER BY 1) AS columns
FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
    AND d.refobjid = e.oid AND d.deptype = 'e' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind = 'r' AND c.relpersistence <> 't'
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE {USER_SCHEMAS} ORDER BY 1, 2
"""


class Lacking(TypedDict):
    """A table of an extension that has ``found`` of the ``expected`` rows of the source; None where the target lacks the table."""

    table: str
    expected: int
    found: int | None


def collect(session: Session, without: Collection[str]) -> list[ExtensionTable]:
    """Every table of the extensions that are not in ``without``."""
    return [_table(session, row) for row in session.rows(_TABLES) if row["extension"] not in without]


def _table(session: Session, row: Mapping[str, Any]) -> ExtensionTable:
    """A row of ``_TABLES``, with its rows."""
    rows, hashes = _rows(session, row)
    return {
        "schema": row["schema"],
        "name": row["name"],
        "extension": row["extension"],
        "carried": row["carried"],
        "condition": row["condition"],
        "columns": row["columns"],
        "rows": rows,
        "hashes": hashes,
        "table": shown(row["schema"], row["name"]),
    }


def _rows(session: Session, table: Mapping[str, Any]) -> tuple[int, list[str] | None]:
    chosen = f"FROM ONLY {qualified(table['schema'], table['name'])} {table['condition'] or ''}"
    rows = int(session.value(f"SELECT pg_catalog.count(*) {chosen}"))
    if not table["carried"] or rows > MOST_HASHES:
        return rows, None
    columns = ", ".join(map(quote, table["columns"]))
    hashes = session.rows(f"SELECT pg_catalog.md5(ROW({columns})::pg_catalog.text) AS hash {chosen} ORDER BY 1")
    return rows, [row["hash"] for row in hashes]


def compare(session: Session, source: Iterable[ExtensionTable]) -> tuple[list[Lacking], list[str]]:
    """Tables of extensions that lack rows of the source, and sentences on rows that pg_dump never dumps.

    source: what ``collect`` returned on the source.
    """
    there = {(row["schema"], row["name"]): row for row in session.rows(_TABLES)}
    lacking: list[Lacking] = []
    left = []
    for table in source:
        here = there.get((table["schema"], table["name"]))
        found = None if here is None else _found(session, table, here)
        if table["carried"] and found != table["rows"] and table["rows"]:
            lacking.append({"table": table["table"], "expected": table["rows"], "found": found})
        elif not table["carried"] and table["rows"] > (found or 0):
            left.append(
                f"The table {table['table']} of the extension {table['extension']} has {counted(table['rows'], 'row')} on the source and "
                f"{'is not there' if found is None else f'has {found}'} on the target: pg_dump leaves out what was added to it. "
                "Copy the rows yourself if they are needed."
            )
    return lacking, left


def _found(session: Session, source: ExtensionTable, here: Mapping[str, Any]) -> int:
    """How many of the source's rows the target has; for a table that pg_dump doesn't dump, how many rows it has."""
    missing = set(source["columns"]) - set(here["columns"])
    # The hashes contain all columns of the source. If the target lacks one of them, rows can only be counted.
    if not source["carried"] or source["hashes"] is None or missing:
        return min(_count(session, source), source["rows"]) if source["carried"] else _count(session, source)
    columns = ", ".join(map(quote, source["columns"]))
    query = f"SELECT pg_catalog.md5(ROW({columns})::pg_catalog.text) AS hash FROM ONLY {qualified(source['schema'], source['name'])}"
    hashes = Counter(row["hash"] for row in session.rows(query))
    return sum((Counter(source["hashes"]) & hashes).values())


def _count(session: Session, table: ExtensionTable) -> int:
    name = qualified(table["schema"], table["name"])
    try:
        return int(session.value(f"SELECT pg_catalog.count(*) FROM ONLY {name} {table['condition'] or ''}"))
    except MigrationError as error:
        # The condition may name a column that this version of the extension doesn't have.
        if error.code != "sql":
            raise
        return int(session.value(f"SELECT pg_catalog.count(*) FROM ONLY {name}"))
