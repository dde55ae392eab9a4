# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search_path with which a table can be read, for tables that can't be read with the empty one of ``Session``.

To plan a query of a table, PostgreSQL expands the functions in the expressions of its indexes. A function that names
something without its schema works with the source's own search_path, and fails with an empty one.
"""

from __future__ import annotations

from typing import Callable, Iterable

from ..common.errors import MigrationError
from ..postgres.relations import Table
from ..postgres.search_path_checks import UNDEFINED
from ..postgres.session import Session

_WITH_FUNCTIONS_IN_INDEXES = """
SELECT DISTINCT i.indrelid::bigint AS oid FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid >= 16384
  AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
"""
# The existing schemas of the search_path that is set for the role and the database.
_OWN_PATH = """
SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s.name), ', ' ORDER BY s.number)
FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS s(name, number)
"""


def find(tables: Iterable[Table], open_session: Callable[[], Session]) -> dict[str, str]:
    """The search_path of each table (``schema.name``) that can't be read under an empty one; often there is none.

    ``open_session`` is called again after an error, which ends the transaction that a session may be in.
    """
    with open_session() as session:
        oids = {row["oid"] for row in session.rows(_WITH_FUNCTIONS_IN_INDEXES)}
    found = {}
    for table in tables:
        if table.oid in oids and not _is_readable(table, open_session, ""):
            with open_session() as session:
                session.execute("RESET search_path")
                path = str(session.value(_OWN_PATH) or "")
            if path and _is_readable(table, open_session, path):
                found[table.key] = path
    return found


def _is_readable(table: Table, open_session: Callable[[], Session], path: str) -> bool:
    with open_session() as session:
        use(session, path)
        try:
            session.execute(f"EXPLAIN SELECT FROM ONLY {table.sql}")
        except MigrationError as error:
            if error.details.get("sqlstate") not in UNDEFINED:
                raise
            return False
    return True


def use(session: Session, path: str) -> None:
    """Set the search_path of the session to ``path``, which may be empty."""
    session.execute("SELECT pg_catalog.set_config('search_path', %s, false)", [path])
