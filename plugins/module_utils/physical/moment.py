# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore point in the WAL of the source, at a moment that a held snapshot shows exactly.

A server that is recovered to that point and promoted shows what the snapshot shows: no transaction ended between the snapshot,
the restore point, and a look at the running transactions after it.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, Callable, Sequence

from ..common.counted import counted
from ..common.errors import MigrationError
from ..evidence.snapshot import HeldSnapshot
from ..postgres.connection import ConnectionSettings
from ..postgres.relations import Table
from ..postgres.session import Session
from .done import PointDocument
from .other_method import OR_STREAM

# If a transaction ends within every attempt for this long, the source needs couch2pg_physical_lock_seconds.
PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.05
# The end of a transaction is in the WAL shortly before other sessions see it. One that was seen as running for this long is not in between.
SETTLED_SECONDS = 1.0
_OURS = "couchdb"

_BEGIN = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_SNAPSHOT = "SELECT pg_catalog.pg_export_snapshot() AS identifier, pg_catalog.txid_current_snapshot()::text AS shows"
# Sent as one message, so that the network doesn't add time between the statements. Each statement has a snapshot of its own.
_POINT = """
SELECT pg_catalog.set_config('couch2pg.before', pg_catalog.txid_current_snapshot()::text, false);
SELECT pg_catalog.set_config('couch2pg.point',
    CASE WHEN pg_catalog.current_setting('couch2pg.before') = %s
         THEN pg_catalog.pg_create_restore_point(%s)::text ELSE '' END, false);
SELECT pg_catalog.set_config('couch2pg.running', (
    SELECT coalesce(pg_catalog.string_agg(backend_xid::text, ','), '') FROM (
        SELECT backend_xid FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL
        UNION SELECT transaction FROM pg_catalog.pg_prepared_xacts) AS each), false);
SELECT pg_catalog.current_setting('couch2pg.point') AS point, pg_catalog.current_setting('couch2pg.running') AS running,
       pg_catalog.txid_current_snapshot()::text AS after
"""


@dataclass(frozen=True)
class Point:
    """A restore point. lsn: where its record ends. shows: the snapshot as text, ``xmin:xmax:running,...``.

    running: the transactions that wrote at that moment; none of them may count as committed in the copy.
    """

    name: str
    lsn: str
    shows: str
    running: Sequence[int] = ()

    def as_dict(self) -> PointDocument:
        """The point as JSON types."""
        return {"name": self.name, "lsn": self.lsn, "shows": self.shows, "running": list(self.running)}


def running_at(shows: str, numbers: str) -> list[int]:
    """The transactions ``numbers`` (32 bits each, separated by commas) with the epoch of the snapshot ``shows``."""
    xmax = int(shows.split(":")[1])
    found = []
    for number in numbers.split(","):
        if number:
            # Of the 64-bit numbers that end with these 32 bits, the one nearest to the snapshot's xmax.
            distance = (int(number) - xmax) & 0xFFFFFFFF
            found.append(xmax + distance - (1 << 32 if distance >> 31 else 0))
    return sorted(found)


class Moment:
    """A held snapshot of the source and the restore point that shows the same. ``with`` ends the snapshot."""

    def __init__(self, snapshot: HeldSnapshot, exporter: Session, point: Point, attempts: int) -> None:
        self.snapshot, self.point, self.attempts = snapshot, point, attempts
        self._exporter = exporter

    def __enter__(self) -> Moment:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.snapshot.session.close()
        self._exporter.close()

    @classmethod
    def take(
        cls,
        settings: ConnectionSettings,
        name: str,
        lock_seconds: int = 0,
        patience: float = PATIENCE_SECONDS,
        waiting: Callable[[int], None] = lambda _attempts: None,
    ) -> Moment:
        """Take a snapshot and its restore point; tries until no transaction ends in between.

        name: of the restore point; the number of the attempt is added. lock_seconds: if above 0, couch2pg's tables are locked, so that
        it can't write at that moment; the most seconds to wait for that lock. waiting: called with the number of attempts.

        Raises MigrationError ``never_rests``, ``is_standby`` or ``locked``.
        """
        with Session(settings, lock_seconds or None) as control:
            if control.value("SELECT pg_catalog.pg_is_in_recovery()"):
                raise MigrationError(
                    f"The server at {settings.place} is a standby, on which no restore point can be made. Take its primary as the source. "
                    f"{OR_STREAM}",
                    "is_standby",
                )
            exporter = Session(settings)
            try:
                # The locks of this snapshot come first, so that no table is altered or emptied between the final snapshot and its readers.
                with HeldSnapshot(settings) as before:
                    tables = before.tables.kept
                    identifier, point, attempts = _meet(
                        exporter, control, name, tables, lock_seconds, patience, waiting
                    )
                    snapshot = HeldSnapshot(settings, identifier)
                    new = {table.oid for table in snapshot.tables.kept} - {table.oid for table in tables}
                    if new:
                        snapshot.session.close()
                        raise MigrationError(
                            f"A program creates tables in {settings.database!r} at this moment. Wait until it has ended, then run again.",
                            "tables_change",
                        )
                # The commit of this transaction makes the server flush its WAL, so that the restore point is sent.
                control.value("SELECT pg_catalog.txid_current()")
            except BaseException:
                exporter.close()
                raise
            return cls(snapshot, exporter, point, attempts)


def _meet(
    exporter: Session,
    control: Session,
    name: str,
    tables: list[Table],
    lock_seconds: int,
    patience: float,
    waiting: Callable[[int], None],
) -> tuple[str, Point, int]:
    """The identifier of the snapshot, the restore point, and the number of attempts."""
    deadline = time.monotonic() + patience
    seen: dict[int, float] = {}
    attempts = 0
    while True:
        attempts += 1
        with _Lock(control, tables, lock_seconds):
            exporter.execute(_BEGIN)
            found = exporter.row(_SNAPSHOT)
            point = f"{name}_{attempts}"
            answer = control.row(_POINT, [found["shows"], point])
            now = time.monotonic()
            running = running_at(found["shows"], answer["running"])
            seen = {number: seen.get(number, now) for number in running}
            settled = all(now - since >= SETTLED_SECONDS for since in seen.values())
            if settled and answer["point"] and answer["after"] == found["shows"]:
                return found["identifier"], Point(point, answer["point"], found["shows"], running), attempts
            exporter.execute("ROLLBACK")
        if time.monotonic() > deadline:
            raise MigrationError(
                f"No restore point on {control.settings.place} matched a snapshot in {patience:.0f} s ({counted(attempts, 'attempt')}), "
                "because a transaction ended during each attempt. Set couch2pg_physical_lock_seconds: 5, which locks couch2pg's tables "
                "against writes during an attempt, or stop couch2pg on the source. Then run again.",
                "never_rests",
                attempts=attempts,
            )
        waiting(attempts)
        time.sleep(PAUSE_SECONDS * (0.5 + random.random()))


class _Lock:
    """Keeps other sessions from writing to couch2pg's tables for a moment; does nothing with 0 seconds."""

    def __init__(self, session: Session, tables: list[Table], seconds: int) -> None:
        self._session, self._seconds = session, seconds
        self._names = [table.sql for table in tables if table.name.startswith(_OURS)] if seconds else []

    def __enter__(self) -> None:
        if not self._names:
            return
        self._session.execute("BEGIN")
        try:
            self._session.execute(f"LOCK TABLE ONLY {', ONLY '.join(self._names)} IN SHARE MODE")
        except MigrationError as error:
            self._session.execute("ROLLBACK")
            raise MigrationError(
                f"couch2pg's tables at {self._session.settings.place} could not be locked within couch2pg_physical_lock_seconds "
                f"({self._seconds} s): {error.message} Run again, or set more seconds.",
                "locked",
                **error.details,
            ) from error

    def __exit__(self, *_exc: Any) -> None:
        if self._names:
            self._session.execute("ROLLBACK")
