# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A writer that changes a database in the way and the order that couch2pg does, as long as it is let.

Each statement is its own transaction: documents are missing between their DELETE and their INSERT, and the place in
``couchdb_progress`` is stored after them. As a program it takes its password from a libpq password file, and says at
its end in one line of JSON what it did:

    PGPASSFILE=... python -m support.writer --dsn 'host=... dbname=cht user=couch2pg' --stop-file FILE
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import psycopg2

if TYPE_CHECKING:
    import types

    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

MAXIMUM_SECONDS = 600.0


@dataclass
class Written:
    """What a writer did; ``seq`` is the last place that it stored."""

    batches: int = 0
    changed: int = 0
    added: int = 0
    refreshes: int = 0
    seconds: float = 0.0
    seq: str = ""


@dataclass
class Writer:
    """Writes batches on one connection of its own until it is stopped.

    ``connect`` makes the connection, in autocommit mode or not. ``pause`` is the time between two batches and
    ``refresh_every`` that between two calls of refresh_matviews() (0 is never), in seconds. With a ``random_seed``, the
    same documents are added each time: a second writer with the same one would fail on couchdb_doc_uuid.
    """

    connect: Callable[[], Connection]
    batch_size: int = 50
    added_each: int = 5
    pause: float = 0.2
    refresh_every: float = 0.0
    random_seed: int | None = None
    written: Written = field(default_factory=Written)

    def run(self, stop: Callable[[], bool], seconds: float = MAXIMUM_SECONDS) -> Written:
        """Write until ``stop()`` or the time is over; a batch that was begun is finished."""
        chance = random.Random(self.random_seed)
        started = refreshed = time.monotonic()
        connection = self.connect()
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            while not stop() and time.monotonic() - started < seconds:
                self._batch(cursor, chance)
                if self.refresh_every and time.monotonic() - refreshed >= self.refresh_every:
                    cursor.execute("SELECT refresh_matviews()")
                    self.written.refreshes += 1
                    refreshed = time.monotonic()
                self.written.seconds = round(time.monotonic() - started, 3)
                _sleep(self.pause, stop)
        finally:
            connection.close()
        return self.written

    def _batch(self, cursor: Cursor, chance: random.Random) -> None:
        for table, size, source in (
            ("couchdb", self.batch_size, "/medic"),
            ("couchdb_users_meta", 3, "/medic-users-meta"),
        ):
            # As text, so that no number goes through Python and comes back with other digits.
            if table == "couchdb":
                # Through the index, from anywhere: the first hex digits of an _id are as good as random.
                cursor.execute(
                    "SELECT doc ->> '_id', doc::text FROM couchdb WHERE doc ->> '_id' >= %s ORDER BY doc ->> '_id' LIMIT %s",
                    [f"{chance.getrandbits(16):04x}", size],
                )
            else:
                cursor.execute("SELECT doc ->> '_id', doc::text FROM couchdb_users_meta LIMIT %s", [size])
            found = cursor.fetchall()
            added = [self._new(chance) for _number in range(self.added_each if table == "couchdb" else 1)]
            cursor.execute(
                f"DELETE FROM {table} WHERE doc ->> '_id' = ANY(%s)",
                [[row[0] for row in found] + [document["_id"] for document in added]],
            )
            cursor.execute(
                f"INSERT INTO {table} (doc) SELECT CASE WHEN place > %s THEN doc"
                " ELSE jsonb_set(doc, '{_rev}', to_jsonb(2 + split_part(doc ->> '_rev', '-', 1)::integer || '-' || md5(doc::text))) END"
                " FROM (SELECT text::jsonb AS doc, place FROM unnest(%s) WITH ORDINALITY AS given (text, place)) AS documents",
                [len(found), [row[1] for row in found] + [json.dumps(document) for document in added]],
            )
            self.written.changed += len(found)
            self.written.added += len(added)
            self._store(cursor, source, len(found) + len(added), chance)
        self.written.batches += 1

    def _store(self, cursor: Cursor, source: str, changes: int, chance: random.Random) -> None:
        # Only the number counts; the rest is different whenever CouchDB is asked.
        cursor.execute(
            "UPDATE couchdb_progress SET seq = split_part(seq, '-', 1)::bigint + %s || '-g1' || %s"
            " WHERE source LIKE %s RETURNING seq",
            [changes, f"{chance.getrandbits(256):064x}", f"%{source}"],
        )
        stored = cursor.fetchone()
        if source == "/medic" and stored:
            self.written.seq = str(stored[0])

    def _new(self, chance: random.Random) -> dict[str, object]:
        return {
            "_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "_rev": f"1-{chance.getrandbits(128):032x}",
            "type": "data_record",
            "form": "home_visit",
            "reported_date": 1735689600000 + self.written.added,
            "fields": {"patient_id": "new", "temperature": 36.5, "notes": "written while the database moves ✓"},
        }


class BackgroundWriter:
    """A writer in a thread: ``with BackgroundWriter(Writer(...)) as writer``; it stops at the end of the block.

    Its error, if it had one, is raised there. ``wait_for`` lets a test be sure that something was written.
    """

    def __init__(self, writer: Writer, seconds: float = MAXIMUM_SECONDS) -> None:
        self._writer = writer
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=[seconds], daemon=True)

    @property
    def written(self) -> Written:
        """What was done until now."""
        return self._writer.written

    def __enter__(self) -> BackgroundWriter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.stop()
        if error is None and self._error is not None:
            raise self._error

    def stop(self) -> Written:
        """Let it finish its batch, and wait for that."""
        self._stop.set()
        self._thread.join(60)
        return self.written

    def wait_for(self, batches: int, seconds: float = 30.0) -> None:
        """Wait until so many more batches are written. Raises ``TimeoutError``."""
        wanted = self.written.batches + batches
        end = time.monotonic() + seconds
        while self.written.batches < wanted:
            if time.monotonic() > end or not self._thread.is_alive():
                raise TimeoutError(f"The writer did {self.written.batches} batches, not {wanted}.") from self._error
            time.sleep(0.02)

    def _run(self, seconds: float) -> None:
        try:
            self._writer.run(self._stop.is_set, seconds)
        except Exception as error:  # noqa: BLE001
            self._error = error


def _sleep(seconds: float, stop: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not stop() and time.monotonic() < end:
        time.sleep(min(0.05, seconds))


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop: by a file that appears, by SIGTERM or SIGINT, or after a time."""
    parser = argparse.ArgumentParser(prog="support.writer", description="Write as couch2pg does.")
    parser.add_argument("--dsn", required=True, help="libpq connection string without a password (PGPASSFILE)")
    parser.add_argument("--seconds", type=float, default=MAXIMUM_SECONDS, help="stop after this time")
    parser.add_argument("--stop-file", type=Path, help="stop when this file is there")
    parser.add_argument("--pause", type=float, default=Writer.pause, help="seconds between batches")
    parser.add_argument("--refresh-every", type=float, default=0.0, help="seconds between refreshes, 0 for none")
    options = parser.parse_args(arguments)

    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())

    def stop() -> bool:
        return told.is_set() or (options.stop_file is not None and options.stop_file.exists())

    def connect() -> Connection:
        made: Connection = psycopg2.connect(options.dsn, application_name="couch2pg")
        return made

    writer = Writer(connect, pause=options.pause, refresh_every=options.refresh_every)
    status = 0
    try:
        writer.run(stop, options.seconds)
    except psycopg2.Error as error:
        sys.stderr.write(f"support.writer: {error}")
        status = 1
    sys.stdout.write(json.dumps(asdict(writer.written)) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
