# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress probes for pg_dump and pg_restore, based on PostgreSQL's progress views."""

from __future__ import annotations

import re
import threading
from typing import Any, Iterable, Mapping

from ..common.evidence_rows import IndexDocument
from .connection import APPLICATION_NAME, ConnectionSettings
from .identifiers import sql_shown
from .monitor_session import MonitorSession
from .session import Session

COPY_SINCE = 140000
LARGEST_SHARE = 0.99

_COPIES = f"""
SELECT {sql_shown("n.nspname", "c.relname")} AS table, pg_catalog.max(p.tuples_processed) AS rows,
       pg_catalog.max(p.bytes_processed) AS bytes
FROM pg_catalog.pg_stat_progress_copy AS p
JOIN pg_catalog.pg_stat_activity AS a USING (pid)
JOIN pg_catalog.pg_class AS c ON c.oid = p.relid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.datname = pg_catalog.current_database() AND a.application_name = %s GROUP BY 1
"""

_INDEXES = f"""
SELECT {sql_shown("n.nspname", "c.relname")} AS index
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE i.indisvalid
"""

_BUILDS = f"""
SELECT {sql_shown("n.nspname", "c.relname")} AS table, p.phase,
       p.blocks_done::float / NULLIF(p.blocks_total, 0) AS scanned,
       p.tuples_done::float / NULLIF(p.tuples_total, 0) AS loaded
FROM pg_catalog.pg_stat_progress_create_index AS p
JOIN pg_catalog.pg_class AS c ON c.oid = p.relid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.datname = pg_catalog.current_database()
"""
BUILDS_SINCE = 120000
# The share of a btree build's time that scanning and sorting takes; the rest is writing.
SCAN_SHARE = 0.7

# Messages of pg_dump and pg_restore with --verbose.
_BEGINS = re.compile(r'(?:dumping contents of|processing data for) table "(.+)"$')
_FINISHED = re.compile(r"finished item \d+ TABLE DATA (.+)$")


class _Probe(MonitorSession):
    """A callable that returns the amount done and the current item."""

    def __call__(self) -> tuple[int, str]:
        return self.query(self._measure)

    def _measure(self, session: Session) -> tuple[int, str]:
        raise NotImplementedError


class CopyProgress(_Probe):
    """Bytes of tables that were copied from or into a database.

    sizes: bytes of each table (``schema.name``).
    rows: rows of each table, exact or estimated, for the share of a table that is being copied.
    one_by_one: whether the program copies one table after the other; it then doesn't report which are done.
    done: tables that were copied before.

    Servers before PostgreSQL 14 don't report a running COPY: a table then counts only once it is done.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        sizes: Mapping[str, int],
        rows: Mapping[str, float],
        one_by_one: bool,
        done: Iterable[str] = (),
    ) -> None:
        super().__init__(settings)
        self._sizes = sizes
        self._rows = rows
        self._one_by_one = one_by_one
        # Tables whose copy began and has not ended, in that order; those that were seen in the progress view.
        self._open: dict[str, None] = {}
        self._seen: set[str] = set()
        self._finished = set(done)
        self._lines = threading.Lock()

    def listen(self, line: str) -> None:
        """Evaluate a line of the program's messages."""
        begins, finished = _BEGINS.search(line), _FINISHED.search(line)
        with self._lines:
            if begins:
                if self._one_by_one:
                    self._end(list(self._open))
                self._open[begins.group(1)] = None
            elif finished:
                self._end([key for key in self._open if key.split(".", 1)[1] == finished.group(1)])

    def _end(self, tables: Iterable[str]) -> None:
        for key in tables:
            self._finished.add(key)
            self._open.pop(key, None)

    def _measure(self, session: Session) -> tuple[int, str]:
        running = {}
        if session.version >= COPY_SINCE:
            running = {row["table"]: row for row in session.rows(_COPIES, [APPLICATION_NAME])}
        with self._lines:
            # A table that left the progress view is done. One that never appeared there may not have started.
            self._end(self._seen - running.keys())
            self._seen = {key for key in self._open if key in running}
            done = sum(self._sizes.get(key, 0) for key in self._finished)
            current = list(self._open)
        done += sum(int(self._sizes.get(key, 0) * self._share(running[key])) for key in current if key in running)
        current.sort(key=lambda key: self._sizes.get(key, 0))
        return done, current[-1] if current else ""

    def _share(self, copy: Mapping[str, Any]) -> float:
        """The share of a table that its running COPY has done, at most LARGEST_SHARE."""
        key = copy["table"]
        rows = self._rows.get(key, 0)
        # For a table that was never analyzed the number of rows is unknown: use the bytes of the copied text instead.
        done, whole = (copy["rows"], rows) if rows > 0 else (copy["bytes"], self._sizes.get(key, 0))
        return min(float(done) / max(whole, 1), LARGEST_SHARE)


class IndexProgress(_Probe):
    """Bytes of the indexes that were built, by their sizes on the source."""

    def __init__(self, settings: ConnectionSettings, indexes: list[IndexDocument]) -> None:
        super().__init__(settings)
        self._indexes = indexes

    def _measure(self, session: Session) -> tuple[int, str]:
        there = {row["index"] for row in session.rows(_INDEXES)}
        done = sum(index["bytes"] for index in self._indexes if index["index"] in there)
        builds = session.rows(_BUILDS) if session.version >= BUILDS_SINCE else []
        for build in builds:
            # The name of the index is not visible before its transaction ends, so use the average of the missing ones.
            missing = [
                index["bytes"]
                for index in self._indexes
                if index["table"] == build["table"] and index["index"] not in there
            ]
            share = SCAN_SHARE * (build["scanned"] or 0) + (1 - SCAN_SHARE) * (build["loaded"] or 0)
            done += int(share * sum(missing) / len(missing)) if missing else 0
        return done, "; ".join(f"index on {build['table']}, {build['phase']}" for build in builds[:1])


class DatabaseSize(_Probe):
    """The size of a database in bytes, for servers that report nothing better."""

    def _measure(self, session: Session) -> tuple[int, str]:
        size = session.value("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")
        return int(size), ""
