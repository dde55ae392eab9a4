# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a table that we wait for, and who waits for a table that we read: by session, for messages and progress."""

from __future__ import annotations

from typing import Any

from ..common.errors import MigrationError
from ..common.progress_line import duration
from .connection import APPLICATION_NAME, ConnectionSettings, Session
from .monitor_session import MonitorSession

# Only ACCESS EXCLUSIVE conflicts with the ACCESS SHARE of a reader. A session that still waits for it keeps later readers
# out, too. Of a statement only its first word is shown: the rest may hold data.
_EXCLUSIVE = """
SELECT l.relation::pg_catalog.int8 AS oid, l.relation::pg_catalog.regclass::text AS relation, l.granted, l.pid,
       a.usename::text AS role, a.application_name AS program, coalesce(a.client_addr::text, 'local') AS client, a.state,
       pg_catalog.substring(a.query, '^\\s*(\\w+)') AS command, x.gid, x.owner::text AS owner
FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_locks AS t ON l.pid IS NULL AND t.pid IS NULL AND t.locktype = 'transactionid'
    AND t.mode = 'ExclusiveLock' AND t.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_catalog.pg_prepared_xacts AS x ON x.transaction = t.transactionid
JOIN pg_catalog.pg_class AS c ON c.oid = l.relation JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND n.nspname !~ '^pg_' AND c.relpersistence <> 't'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND coalesce(a.application_name, '') <> %s ORDER BY l.granted DESC, relation, l.pid
"""
_OURS = """
SELECT l.relation::pg_catalog.int8 AS oid, l.relation::pg_catalog.regclass::text AS relation,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.query_start)::float AS seconds
FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND NOT l.granted AND a.application_name = %s
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
"""
SHOWN_AFTER_SECONDS = 3.0
SHOWN = 3


def conflicting(session: Session) -> list[str]:
    """The sessions that hold a relation for themselves alone, or wait to; each as a few words with the relation's name."""
    return [_words(row) for row in session.rows(_EXCLUSIVE, [APPLICATION_NAME])]


def sentence(settings: ConnectionSettings) -> str:
    """Who is in the way, with the remedy; empty when no session is (any more), or no server answers."""
    try:
        with Session(settings) as session:
            found = conflicting(session)
    except MigrationError:
        return ""
    if not found:
        return ""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (
        f"{'; '.join(found[:SHOWN])}{more}. Wait until that has ended, or end it (SELECT pg_terminate_backend(PID); for a "
        "prepared transaction, COMMIT PREPARED or ROLLBACK PREPARED), then run again."
    )


def _words(row: dict[str, Any]) -> str:
    if row["pid"] is None:
        return f"{row['relation']} is locked by the prepared transaction {row['gid']!r} of {row['owner']!r}"
    who = f"session {row['pid']} ({row['role']}, {row['program'] or 'no name'}, {row['client']}, {row['state']})"
    how = "is locked by" if row["granted"] else "is to be locked by"
    return f"{row['relation']} {how} {who}, {row['command'] or 'unknown statement'}"


class LockWaits(MonitorSession):
    """For the progress of a job that reads: what it waits for, and who waits for it."""

    def tell(self) -> str:
        """A few words; empty when nothing has waited for some seconds."""
        ours, exclusive = self.query(
            lambda session: (
                session.rows(_OURS, [APPLICATION_NAME]),
                session.rows(_EXCLUSIVE, [APPLICATION_NAME]),
            )
        )
        waits = {row["oid"]: row for row in ours if row["seconds"] >= SHOWN_AFTER_SECONDS}
        said = [f"waiting {duration(row['seconds'])} to read {row['relation']}" for row in waits.values()]
        # While we read, a session that waits for its lock waits for us.
        said += [_words(row) for row in exclusive if row["oid"] in waits or not row["granted"]]
        return "; ".join(said[: 2 * SHOWN])
