# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What blocks a session: any lock, and the session or prepared transaction that holds it, as text for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Iterable, NamedTuple

from .identifiers import literal

if TYPE_CHECKING:
    from .session import Session

SHOWN = 3


class Holder(NamedTuple):
    """A session or prepared transaction that holds a lock or waits for one: its description, and the statement that ends it."""

    words: str
    ending: str


class Wait(NamedTuple):
    """What a session waits for.

    program: the application name of the session; kind, mode: of the lock. inside: the name of the database that the lock is in, for example
    of a relation; None for a lock of the whole server.
    oid, relation: of a relation, else None. catalog: of another object; object: its name, for a database. here: whether the relation's
    name is known in the database that asks. blockers: the process ids of the sessions that it waits for.
    """

    pid: int
    program: str | None
    kind: str
    mode: str
    inside: str | None
    oid: int | None
    relation: str | None
    catalog: str | None
    object: str | None
    here: bool | None
    blockers: list[int]


# What every waiting session waits for, in every database of the server. The name of a relation in another database can't be resolved here.
_WAITS = """
SELECT l.pid, a.application_name AS program, l.locktype AS kind, l.mode, d.datname AS inside,
       l.relation::int8 AS oid, l.relation::regclass::text AS relation, l.classid::regclass::text AS catalog,
       (SELECT o.datname FROM pg_catalog.pg_database AS o WHERE o.oid = l.objid AND l.classid = 'pg_database'::regclass) AS object,
       l.relation < 16384::oid
       OR l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AS here,
       pg_catalog.pg_blocking_pids(l.pid) AS blockers
FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_database AS d ON d.oid = l.database
WHERE NOT l.granted
"""
# Only the first word of a statement is shown, because the rest may contain data.
_SESSIONS = """
SELECT a.pid, a.usename::text AS role, a.application_name AS program, coalesce(pg_catalog.host(a.client_addr), 'local') AS client, a.state,
       pg_catalog.substring(a.query, '^\\s*(\\w+)') AS command
FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = ANY (%s)
"""
_CALLED = "SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = %s"
_PREPARED = """
SELECT x.gid, x.owner::text AS owner, x.database::text AS database FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_locks AS t ON t.pid IS NULL AND t.locktype = 'transactionid' AND t.mode = 'ExclusiveLock'
    AND t.virtualtransaction = l.virtualtransaction
JOIN pg_catalog.pg_prepared_xacts AS x ON x.transaction = t.transactionid
WHERE l.pid IS NULL AND l.granted AND (l.relation = %s OR l.locktype = 'transactionid' AND %s::int8 IS NULL) GROUP BY 1, 2, 3
"""
# Only ACCESS EXCLUSIVE conflicts with the ACCESS SHARE of a reader. A session that waits for ACCESS EXCLUSIVE blocks later readers, too.
_EXCLUSIVE = """
SELECT l.relation::int8 AS oid, l.relation::regclass::text AS relation, l.granted, l.pid
FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
JOIN pg_catalog.pg_class AS c ON c.oid = l.relation JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND n.nspname !~ '^pg_t' AND c.relpersistence <> 't'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND coalesce(a.application_name, '') <> %s ORDER BY l.granted DESC, relation, l.pid
"""
# Who prevents every connection to a database: with a lock on the database itself, or on a catalog that each new session reads.
_DATABASE = """
SELECT l.pid, CASE l.locktype WHEN 'relation' THEN l.relation::regclass::text END AS relation, l.granted
FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_database AS d ON d.datname = %s
WHERE l.granted AND l.pid <> pg_catalog.pg_backend_pid() AND (
    l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND l.objid = d.oid
        AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    OR l.locktype = 'relation' AND l.database IN (0, d.oid) AND l.mode = 'AccessExclusiveLock' AND l.relation < 16384::oid)
ORDER BY l.locktype, relation, l.pid
"""


def waits(session: Session) -> list[Wait]:
    """What each waiting session of the server waits for."""
    return [Wait(**row) for row in session.rows(_WAITS)]


def held_up(session: Session, which: Callable[[Wait], bool]) -> str:
    """Who blocks the sessions whose wait the function ``which`` accepts, with the remedy; empty when none of them waits."""
    found = waits(session)
    return advised([holder for wait in found if which(wait) for holder in blockers(session, wait, found)])


def exclusive(session: Session, but: str) -> str:
    """Who holds ACCESS EXCLUSIVE on a relation of this database, or waits for it, with the remedy; empty when nobody does.

    but: application name of the sessions to ignore.
    """
    rows = session.rows(_EXCLUSIVE, [but])
    return advised(
        [
            holder
            for row in rows
            for holder in _of_sessions(session, row["relation"], [row["pid"] or 0], row["granted"], row["oid"])
        ]
    )


def of_database(session: Session, name: str) -> str:
    """Who prevents every connection to the database ``name``, with the remedy; empty when nobody does."""
    return advised(
        [
            holder
            for row in session.rows(_DATABASE, [name])
            for holder in _of_sessions(
                session, row["relation"] or f"the database {name!r}", [row["pid"] or 0], True, None
            )
        ]
    )


def advised(found: list[Holder]) -> str:
    """A text with the first of the holders and what to do; empty when there are none."""
    if not found:
        return ""
    said = list(dict.fromkeys(holder.words for holder in found))
    more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    ends = list(dict.fromkeys(holder.ending for holder in found if holder.words in said[:SHOWN]))
    return f"{'; '.join(said[:SHOWN])}{more}. Wait until that has ended, or end it: {' '.join(ends)} Then run again."


def blockers(session: Session, wait: Wait, found: list[Wait]) -> list[Holder]:
    """The sessions that block the session of ``wait``. ``found``: all of ``waits``."""
    queued = {other.pid for other in found if other.oid == wait.oid and other.kind == wait.kind}
    what = thing(session, wait)
    holding = [pid for pid in wait.blockers if pid not in queued]
    waiting = [pid for pid in wait.blockers if pid in queued]
    return _of_sessions(session, what, holding, True, wait.oid) + _of_sessions(session, what, waiting, False, wait.oid)


def waiting_for(session: Session, program: str, found: list[Wait]) -> list[Holder]:
    """Other sessions that wait for a session with the application name ``program``. ``found``: all of ``waits``."""
    others = [wait for wait in found if wait.program != program]
    if not others:
        return []
    theirs = {row["pid"] for row in session.rows(_CALLED, [program])}
    return [
        holder
        for wait in others
        if theirs.intersection(wait.blockers)
        for holder in _of_sessions(session, thing(session, wait), [wait.pid], False, wait.oid)
    ]


def thing(session: Session, wait: Wait) -> str:
    """What is waited for, such as a table, or a row of it."""
    if wait.oid is not None:
        name = wait.relation if wait.here or wait.inside is None else _named_there(session, wait.inside, wait.oid)
        return f"a row of {name}" if wait.kind == "tuple" else str(name)
    if wait.kind == "object":
        return f"the database {wait.object!r}" if wait.object else f"an entry of {wait.catalog}"
    kinds = {"transactionid": "a row", "virtualxid": "a snapshot", "advisory": "an advisory lock"}
    return kinds.get(wait.kind, f"a lock ({wait.kind})")


def _named_there(session: Session, database: str, oid: int) -> str:
    with session.beside(database) as other:
        return str(other.value("SELECT %s::pg_catalog.oid::regclass::text", [oid]))


def _of_sessions(session: Session, what: str, pids: Iterable[int], granted: bool, oid: int | None) -> list[Holder]:
    """A holder for each session in ``pids``. The pid 0 stands for prepared transactions."""
    how = "is locked by" if granted else "is to be locked by"
    wanted = set(pids)
    said = [
        Holder(
            f"{what} {how} session {row['pid']} ({row['role']}, {row['program'] or 'no name'}, {row['client']}, {row['state']}, "
            f"last statement {row['command'] or 'unknown'})",
            f"SELECT pg_terminate_backend({row['pid']});",
        )
        for row in (session.rows(_SESSIONS, [sorted(wanted)]) if wanted - {0} else [])
    ]
    if 0 in wanted:
        rows = session.rows(_PREPARED, [oid, oid])
        said += [
            Holder(
                f"{what} {how} the prepared transaction {row['gid']!r} of {row['owner']!r} in the database {row['database']!r}",
                f"ROLLBACK PREPARED {literal(row['gid'])}; (or COMMIT PREPARED {literal(row['gid'])};)",
            )
            for row in rows
        ]
    return said
