# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call couch2pg's refresh function on empty tables and roll it back: that proves in a moment what a call on all rows would prove.

The function refreshes every materialized view a second time, one after the other and with CONCURRENTLY: that takes longer than all
refreshes before. It fails because of a view's owner, its indexes, its schema, or a missing name, and all of that is the same
when there are no rows. An error because of rows (a division by zero, a duplicate key) has already occurred in the first refresh.
"""

from __future__ import annotations

from contextlib import suppress

from ..common.errors import MigrationError
from ..postgres import login_settings
from ..postgres.identifiers import qualified, quote
from ..postgres.matview_graph import read_graph
from ..postgres.relations import list_tables
from ..postgres.session import Session

# Smaller tables keep their rows: these cost almost no time, and emptying a table takes locks.
EMPTY_FROM_BYTES = 1024 * 1024

_SHORTER = """
SELECT FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout') AND setting::bigint BETWEEN 1 AND %s
"""


def may_time_out(session: Session, owner: str, seconds: float) -> bool:
    """Whether a timeout in the settings of ``owner`` would end a call of ``seconds``. A call without rows would not show that."""
    login_settings.assume(session, owner)
    return bool(session.rows(_SHORTER, [seconds * 1000]))


def succeeds_without_rows(session: Session, owner: str, call: str) -> bool:
    """Whether ``call`` succeeds as ``owner`` while large tables are empty. The transaction is rolled back, whatever happens.

    False says nothing about a call on all rows: the function may need rows, or the session may not empty the tables.
    For a database that nobody else uses, because the tables are locked.
    """
    views = read_graph(session)
    tables = [table.sql for table in list_tables(session).kept if table.table_bytes >= EMPTY_FROM_BYTES]
    # The owner's transaction_timeout doesn't apply, because this transaction does more than the call.
    login_settings.assume(session, owner, ["transaction_timeout"])
    session.execute("BEGIN")
    try:
        if tables:
            session.execute(f"TRUNCATE ONLY {', ONLY '.join(tables)}")
        done: set[str] = set()
        while len(done) < len(views):
            ready = [view for view in views if view.key not in done and done.issuperset(view.depends_on)]
            for view in ready:
                session.execute(f"REFRESH MATERIALIZED VIEW {qualified(view.schema, view.name)}")
            done.update(view.key for view in ready)
        session.execute(f"SET LOCAL ROLE {quote(owner)}")
        session.execute(call)
    except MigrationError as error:
        if error.code != "sql":
            raise
        return False
    finally:
        session.execute("ROLLBACK")
    return True


def call(session: Session, owner: str, statement: str, undone: bool) -> None:
    """Call the function as ``owner``. undone: roll back what the function, and event triggers that it fires, have written."""
    session.execute("BEGIN")
    try:
        session.execute(f"SET LOCAL ROLE {quote(owner)}")
        session.execute(statement)
        session.execute("ROLLBACK" if undone else "COMMIT")
    except BaseException:
        # Where the session has ended with the error, there is nothing to roll back.
        with suppress(MigrationError):
            session.execute("ROLLBACK")
        raise
