# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch couch2pg until it is healthy, or until it can't become healthy.

Healthy means: the process is still the one that was started, it has completed its runs, its checkpoints have passed CouchDB's marks from
the start of the watch, every materialized view is populated, and couch2pg's role can refresh them. No condition alone is enough.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Sequence, TypedDict

from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.progress_line import duration
from ..common.redaction import Redactor
from ..couch2pg import checkpoint, couchdb_sync
from ..couch2pg.couchdb_sync import Sync
from ..couch2pg.log.incidents import ErrorSeen
from ..couch2pg.log.position import LogSource, Position
from ..couch2pg.log.reader import LogSummary, Reader
from ..couch2pg.log.remedies import Names
from ..couchdb.client import CouchDB, DatabaseState
from ..couchdb.url import Followed
from ..host.same_process import GONE, UNKNOWN, SameProcess
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session
from . import matview_proof
from .matview_proof import MatviewState, Refreshed

# How long the last lines of an ended process may take to arrive in the log.
LAST_WORDS_SECONDS = 1.0
# Errors that couch2pg repeats with every run, and that don't go away by themselves.
HOPELESS = (
    "couchdb_certificate",
    "couchdb_forbidden",
    "couchdb_no_database",
    "duplicate_key",
    "permission_denied",
    "read_only",
    "table_missing",
)
# Errors that only follow from an earlier error.
_SAYS_NOTHING = ("gave_up", "service_gave_up")
# Errors of our own requests to CouchDB that waiting doesn't solve.
_OURS = ("couchdb_certificate", "couchdb_no_database")


@dataclass(frozen=True)
class Wanted:
    """The conditions. ``patience``: seconds without progress, of runs or checkpoints, after which the watch fails."""

    runs: int
    matviews: tuple[str, ...]
    call_refresh: bool
    patience: float
    pause: float


class Proof(TypedDict):
    """What PostgreSQL showed: every materialized view, and the refresh (None when it was not called, or doesn't exist)."""

    matviews: list[MatviewState]
    refresh: Refreshed | None


class Watch:
    """Watches couch2pg's log, process, checkpoints and materialized views.

    since: the position in the log before the start. process: the process that was started. names: for the remedies.
    """

    def __init__(
        self,
        database: ConnectionSettings,
        client: CouchDB,
        followed: Sequence[Followed],
        source: LogSource,
        since: Position | None,
        process: SameProcess,
        wanted: Wanted,
        redactor: Redactor,
        names: Names,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._client = client
        self._followed = list(followed)
        self._source = source
        self._since = since
        self._process = process
        self._wanted = wanted
        self._clock = clock
        self._sleep = sleep
        self._reader = Reader(redactor, names=names)
        self._states: dict[str, DatabaseState] = {}
        self._trouble: MigrationError | None = None
        self.log: LogSummary = self._reader.so_far()
        self.sync: list[Sync] = []

    def wait(self, on_remaining: Callable[[int], None] = lambda _changes: None) -> None:
        """Wait until the runs are complete and all changes up to the marks have arrived.

        on_remaining: called once with the number of these changes.

        Raises MigrationError ``couch2pg_ended``, ``couch2pg_restarted``, ``couch2pg_error`` or ``couch2pg_not_current``.
        """
        moved, before, told = self._clock(), None, False
        while True:
            self._look()
            if self.remaining and not told:
                on_remaining(self.remaining)
                told = True
            if self._complete:
                return
            now = (self.log.runs_completed, *(entry.stored for entry in self.sync if not entry.current))
            if now != before:
                moved, before = self._clock(), now
            elif self._clock() - moved > self._wanted.patience:
                raise self._timed_out()
            self._sleep(self._wanted.pause)

    def prove(self, say: Callable[[str], None] = lambda _step: None) -> Proof:
        """Check materialized views and their refresh in PostgreSQL, then process and log once more.

        Raises MigrationError ``matviews_missing``, ``matviews_unpopulated`` or ``couch2pg_refresh_failed``, or one of ``wait``.
        """
        self._matviews()
        refreshed = None
        if self._wanted.call_refresh:
            say(f"{matview_proof.FUNCTION} as {self._database.user}")
            refreshed = matview_proof.refresh(self._database)
        matviews = self._matviews()
        self._look()
        return {"matviews": matviews, "refresh": refreshed}

    def _matviews(self) -> list[MatviewState]:
        with Session(self._database) as session:
            return matview_proof.check(session, self._wanted.matviews)

    @property
    def position(self) -> Position | None:
        """The position after the last line of the log that was read."""
        return self._since

    @property
    def remaining(self) -> int:
        """The number of changes between the checkpoints and the marks."""
        return sum(entry.mark - entry.stored for entry in self.sync if not entry.current)

    def tell(self) -> str:
        """The state of the watch as text."""
        runs = min(self.log.runs_completed, self._wanted.runs)
        parts = [f"run {min(runs + 1, self._wanted.runs)} of {self._wanted.runs}"]
        if runs == self._wanted.runs:
            parts = [f"{runs} of {counted(runs, 'run')}"]
        elif self.log.next_run and self.log.runs_completed + self.log.runs_errored >= self.log.runs_started:
            parts.append(f"next run at {self.log.next_run}")
        parts += [couchdb_sync.describe(self.sync)] if self.remaining else []
        if self.log.errors:
            count = sum(seen.count for seen in self.log.errors)
            kinds = ", ".join(seen.kind for seen in self.log.errors)
            parts.append(f"{count} error{'s' if count > 1 else ''} ({kinds})")
        if self._trouble is not None:
            parts.append(self._trouble.code)
        return "; ".join(parts)

    def notices(self, proof: Proof) -> list[str]:
        """Notices about a healthy couch2pg."""
        found = list(dict.fromkeys(self._source.notices))
        if self._process.state() == UNKNOWN:
            found.append("Only the log was checked for a restart, because the deployment doesn't show its process.")
        if self._wanted.call_refresh and proof["refresh"] is None:
            found.append(
                f"The database has no function {matview_proof.FUNCTION}, so that the refresh of the materialized views could not be "
                "tested."
            )
        if self.log.refresh_in_doubt:
            found.append(
                "A refresh by couch2pg failed, and it has started none since. The refresh by this check succeeded."
            )
        empty = [entry.database for entry in self._followed if self._states[entry.key].documents == 0]
        if empty:
            found.append(
                f"CouchDB has no document in {', '.join(empty)}. Check that COUCHDB_URL is spelt as on the source."
            )
        return found

    @property
    def _complete(self) -> bool:
        return (
            self.log.runs_completed >= self._wanted.runs
            and bool(self._states)
            and self._trouble is None
            and all(entry.current for entry in self.sync)
        )

    def _look(self) -> None:
        gone = self._process.state() == GONE
        if gone:
            self._sleep(LAST_WORDS_SECONDS)
        self._read_log()
        if gone or self.log.exits or self.log.starts > 1:
            raise self._ended(gone)
        hopeless = [seen for seen in self.log.errors if seen.kind in HOPELESS and seen.count > 1]
        if hopeless and not self.log.runs_completed:
            raise MigrationError(
                f"couch2pg repeats an error that doesn't go away by itself: {_told(hopeless[-1])}",
                "couch2pg_error",
                **self._evidence(),
            )
        self._trouble = None
        try:
            self._look_at_sync()
        except MigrationError as error:
            if error.code in _OURS:
                raise
            # The server may answer again; couch2pg retries as well.
            self._trouble = error

    def _read_log(self) -> None:
        try:
            for line in self._source.lines(self._since):
                self._reader.add(line)
        except MigrationError as error:
            # The log has no line yet.
            if error.code != "log_missing":
                raise
            return
        self._since = self._source.after
        self.log = self._reader.so_far()

    def _look_at_sync(self) -> None:
        self._states = self._states or couchdb_sync.take_marks(self._client, self._followed)
        with Session(self._database) as session:
            found = checkpoint.checkpoints(session, self._followed)
        self.sync = couchdb_sync.compare(found, {key: state.update_seq for key, state in self._states.items()})
        if self.log.runs_completed >= self._wanted.runs:
            self.sync = couchdb_sync.settle(self._client, self.sync)

    def _ended(self, gone: bool) -> MigrationError:
        again = self.log.starts > 1 or (self.log.exits and self.log.starts) or self.log.restart_counter
        word, code = ("was restarted", "couch2pg_restarted") if again else ("has ended", "couch2pg_ended")
        telling = [seen for seen in self.log.errors if seen.kind not in _SAYS_NOTHING] or list(self.log.errors)
        if telling:
            why = _told(telling[-1])
        else:
            shown = "its process is not the one that was started, and its log gives" if gone else "its log gives"
            why = (
                f"{shown} no reason. With Node.js 14 or later a stock couch2pg ends at once without a message: run it on Node.js 8, 10 "
                "or 12. Otherwise check whether something stopped it, and start it again."
            )
        return MigrationError(f"couch2pg {word}: {why}", code, **self._evidence())

    def _timed_out(self) -> MigrationError:
        waited = duration(self._wanted.patience)
        if self._trouble is not None:
            why = self._trouble.message
        elif self.log.errors:
            why = _told(self.log.errors[-1])
        elif not self.log.lines:
            why = "its log is empty. Check that it runs, and that the log is the right one."
        else:
            why = "read its log. If it only needs more time, run again with a larger couch2pg_health_timeout."
        return MigrationError(
            f"couch2pg made no progress for {waited} ({self.tell()}): {why}", "couch2pg_not_current", **self._evidence()
        )

    def _evidence(self) -> dict[str, object]:
        return {
            "process": self._process.identity,
            "runs_completed": self.log.runs_completed,
            "errors": [seen.as_dict() for seen in self.log.errors],
            "sync": [entry.as_dict() for entry in self.sync],
            "last_lines": list(self.log.last_lines),
        }


def _told(seen: ErrorSeen) -> str:
    named = f" ({', '.join(seen.subjects)})" if seen.subjects else ""
    return f"{seen.meaning}{named} {seen.remedy}"
