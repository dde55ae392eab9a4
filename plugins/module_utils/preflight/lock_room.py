# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server has room for the locks of a database with very many tables.

``pg_dump`` locks every table until it ends: on the source for the dump, on the target for the comparison of schemas. The server's table of
locks has a size that is set when it starts.
"""

from __future__ import annotations

from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.findings import Findings
from ..postgres.session import Session

NAME = "locks"

_TABLES = """
SELECT count(*) FILTER (WHERE c.relkind IN ('r', 'p', 'f')) AS tables, count(*) AS relations
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'i', 'I') AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
"""
_ROOM = """
SELECT current_setting('max_locks_per_transaction')::int AS for_each, current_setting('max_locks_per_transaction')::int
       * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int) AS locks
"""


def examine_source(session: Session, findings: Findings) -> None:
    """Check the source, where reading a table also locks its indexes. Raises MigrationError ``locks``."""
    found = session.row(_TABLES)
    tables, relations = int(found["tables"]), int(found["relations"])
    room, remedy = _room(session, "source", relations)
    text = f"The database has {counted(tables, 'table')} ({relations} with their indexes), and {remedy}"
    if tables > room:
        raise MigrationError(f"{text}.", "locks", tables=tables, relations=relations, locks=room)
    if relations > room:
        counts = {"tables": tables, "relations": relations, "locks": room}
        findings.warning(NAME, f"{text}, if the dump ends with 'out of shared memory'.", **counts)


def examine_target(session: Session, tables: int) -> None:
    """Check the target, where verify prints the schema of as many ``tables`` as the source has. Raises MigrationError ``locks``."""
    room, remedy = _room(session, "target", tables)
    if tables > room:
        raise MigrationError(
            f"The source's database has {counted(tables, 'table')}, and {remedy}.", "locks", tables=tables, locks=room
        )


def _room(session: Session, side: str, wanted: int) -> tuple[int, str]:
    """How many locks the server has room for, and the clause that says what to set for ``wanted`` locks."""
    found = session.row(_ROOM)
    room = int(found["locks"])
    needed = -(-wanted * int(found["for_each"]) // room)
    return room, (
        f"the {side}'s server has room for about {counted(room, 'lock')}. Set max_locks_per_transaction to {needed} or more there, and "
        "restart it"
    )
