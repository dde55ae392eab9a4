# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase refresh: the job that refreshes every materialized view in dependency order, then calls couch2pg's refresh function."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Mapping

from ..common import restart
from ..common.errors import MigrationError
from ..common.progress_line import duration
from ..evidence.document import put_sequences_back
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..postgres import event_triggers, login_settings
from ..postgres.connection import ConnectionSettings
from ..postgres.connection_errors import StatementDetails, details_of
from ..postgres.database import current_oid, find_database_by_oid
from ..postgres.identifiers import qualified, quote
from ..postgres.matview_graph import Matview, read_graph
from ..postgres.session import Session, server_identity
from ..record.promoted import PROMOTED
from ..record.restored import matviews_on_source, restored_oid, sequences_when_restored
from ..record.results import RefreshFunction, RefreshOutcome, RefreshResult
from . import advice, function_proof
from .forecast import Forecast
from .parameters import Fingerprint, Known, Options, Parameters

UNPOPULATED = "55000"


def examine(settings: ConnectionSettings, state: Path) -> Known:
    """The database, and what this migration knows of it."""
    with Session(settings) as session:
        identity, oid = server_identity(session), current_oid(session)
    restored = not (state / PROMOTED).exists() and restored_oid(state, identity) == oid
    on_source = matviews_on_source(state, identity, oid)
    sequences = sequences_when_restored(state, identity, oid) if restored else {}
    return {"identity": identity, "oid": oid, "restored": restored, "on_source": on_source, "sequences": sequences}


def job_spec(settings: ConnectionSettings, options: Options, known: Known, rehearsed: dict[str, float]) -> JobSpec:
    """The job for a refresh. options: the module's; known: the result of ``examine``; rehearsed: seconds of each view in a rehearsal."""
    fingerprint: Fingerprint = {"server_identity": known["identity"], "database_oid": known["oid"]}
    parameters: Parameters = {
        **fingerprint,
        "connection": settings.public(),
        "jobs": max(1, options["jobs"]),
        "maintenance_work_mem": options["maintenance_work_mem"],
        "call_function": options["call_function"],
        "resume": known["restored"],
        "on_source": known["on_source"],
        "sequences": known["sequences"],
        "rehearsed": rehearsed,
    }
    return JobSpec("refresh", run, parameters, fingerprint, {"login_password": settings.password or ""}, once=False)


def run(context: JobContext) -> RefreshResult:
    """Refresh everything; the entry function of the job ``refresh``.

    A materialized view without data on the source may stay without data. Raises MigrationError ``refresh_failed`` for any other.
    """
    settings, parameters = context.connection(), context.given(Parameters)
    started = time.monotonic()
    with Session(settings) as session:
        pending = read_graph(session)
        # An event trigger must not write to the database before it is verified.
        quietly = parameters["resume"] and event_triggers.are_loud(session)
    on_source = parameters["on_source"]
    forecast = Forecast.of(pending, parameters["rehearsed"], on_source)
    scheduler = _Scheduler(context, settings, pending, quietly, forecast)
    context.progress.step("materialized views", forecast.total, forecast.unit, forecast.estimated, scheduler.progress)
    done = scheduler.run()
    not_populated = [entry for entry in done if entry["error"] and on_source.get(entry["matview"], 0) is None]
    failed = [entry for entry in done if entry["error"] and entry not in not_populated]
    if failed:
        raise MigrationError(_cause(failed), "refresh_failed", matviews=failed)
    function = None
    if parameters["call_function"]:
        before = 0 if any(entry["done_before"] for entry in done) else sum(entry["seconds"] for entry in done)
        function = _call_function(context, settings, before, not_populated)
    # A view's query, or the function when it writes to a log table, may have taken values from sequences.
    with Session(settings) as session:
        put_sequences_back(session, parameters["sequences"])
    return {
        "oid": parameters["database_oid"],
        "matviews": [entry for entry in done if not entry["error"]],
        "not_populated": not_populated,
        "function": function,
        "seconds": round(time.monotonic() - started, 1),
    }


class _Scheduler:
    """Parallel workers that refresh matviews whose dependencies are refreshed.

    The catalog doesn't contain dependencies through functions. When PostgreSQL reports that a matview isn't populated, the
    refresh is tried again after another one has succeeded.
    """

    def __init__(
        self,
        context: JobContext,
        settings: ConnectionSettings,
        matviews: list[Matview],
        quietly: bool,
        forecast: Forecast,
    ) -> None:
        self._parameters = context.given(Parameters)
        self._settings = settings
        self._forecast = forecast
        self._waiting = {matview.key: matview for matview in forecast.largest_first(matviews)}
        self._retry: dict[str, Matview] = {}
        # The start time of each refresh that is running.
        self._running: dict[str, float] = {}
        self._outcomes: dict[str, RefreshOutcome] = {}
        self._changed = threading.Condition()
        self._sessions: list[Session] = []
        self._aborted = False
        self._resume = self._parameters["resume"]
        # Refresh one view at a time, each in a transaction in which no event trigger fires.
        self._quietly = quietly

    def progress(self) -> tuple[int, str]:
        """The weight of the refreshed matviews, and a text: their number (unless that is the weight), and the running ones."""
        with self._changed:
            finished = [key for key, outcome in self._outcomes.items() if not outcome["error"]]
            running = {key: time.monotonic() - since for key, since in self._running.items()}
        words = [f"{key} for {duration(seconds)}" for key, seconds in running.items()]
        counted = [f"{len(finished)} of {len(self._forecast.weights)}"] if self._forecast.estimated else []
        return self._forecast.done(finished, running), ", ".join(counted + words)

    def run(self) -> list[RefreshOutcome]:
        workers = 1 if self._quietly else max(1, min(self._parameters["jobs"], len(self._waiting)))
        with ThreadPoolExecutor(max_workers=workers) as pool:
            futures = [pool.submit(self._worker) for _number in range(workers)]
            try:
                # With a time limit: another thread may receive a signal, but only this one handles it.
                while wait(futures, timeout=0.1).not_done:
                    pass
            except BaseException:
                self._abort()
                raise
        for future in futures:
            future.result()
        return list(self._outcomes.values())

    def _worker(self) -> None:
        try:
            with Session(self._settings) as session:
                with self._changed:
                    self._sessions.append(session)
                owner = ""
                matview = self._take()
                while matview is not None:
                    if matview.owner != owner:
                        owner = matview.owner
                        self._settings_of(session, owner)
                    done_before = self._resume and matview.populated
                    self._finish(matview, _refresh(session, matview, done_before, self._quietly))
                    matview = self._take()
        except BaseException:
            self._abort()
            raise

    def _settings_of(self, session: Session, owner: str) -> None:
        """Give the session the settings that the owner's own refresh will have (search_path, TimeZone ...), without timeouts."""
        login_settings.assume(session, owner, login_settings.TIMEOUTS)
        memory = self._parameters["maintenance_work_mem"]
        session.execute("SELECT pg_catalog.set_config('maintenance_work_mem', %s, false)", [memory])

    def _abort(self) -> None:
        with self._changed:
            self._aborted = True
            for session in self._sessions:
                session.cancel()
            self._changed.notify_all()

    def _take(self) -> Matview | None:
        with self._changed:
            while not self._aborted:
                for key, matview in self._waiting.items():
                    if not any(name in self._waiting or name in self._running for name in matview.depends_on):
                        del self._waiting[key]
                        self._running[key] = time.monotonic()
                        return matview
                if not self._running:
                    return None
                self._changed.wait(timeout=0.5)
            return None

    def _finish(self, matview: Matview, outcome: RefreshOutcome) -> None:
        with self._changed:
            self._running.pop(matview.key, None)
            self._outcomes[matview.key] = outcome
            if outcome["sqlstate"] == UNPOPULATED:
                self._retry[matview.key] = matview
            elif not outcome["error"]:
                self._waiting.update(self._retry)
                self._retry.clear()
            self._changed.notify_all()


def _refresh(session: Session, matview: Matview, done_before: bool, quietly: bool) -> RefreshOutcome:
    """Refresh one matview without CONCURRENTLY, which can't populate an empty one; ``done_before`` skips the refresh."""
    started = time.monotonic()
    outcome: RefreshOutcome = {"matview": matview.key, "rows": None, "error": None, "sqlstate": None, "advice": None}
    outcome["done_before"] = done_before
    name = qualified(matview.schema, matview.name)
    try:
        if not done_before:
            with event_triggers.silent_transaction(session) if quietly else nullcontext():
                session.execute(f"REFRESH MATERIALIZED VIEW {name}")
        session.execute(f"ANALYZE {name}")
        outcome["rows"] = session.value(f"SELECT pg_catalog.count(*) FROM {name}")
    except MigrationError as error:
        if error.code != "sql":
            raise
        details = details_of(error)
        reason = details["reason"].rstrip(".")
        outcome["error"], outcome["sqlstate"], outcome["context"] = reason, details["sqlstate"], details["context"]
        outcome["advice"] = advice.of_view(session, name, matview.owner, reason, details)
    outcome["seconds"] = round(time.monotonic() - started, 1)
    return outcome


def _call_function(
    context: JobContext, settings: ConnectionSettings, before: float, not_populated: list[RefreshOutcome]
) -> RefreshFunction | None:
    """Call ``refresh_matviews()`` as its owner, couch2pg's role; None when there is no such function.

    In a database that nobody uses yet, it is called on empty tables first, unless a call on all rows may exceed a timeout. If that
    call fails, or in any other database, it is called on all rows. Before the promotion, what it does is rolled back: all views are
    refreshed already, and nothing else may be written.
    before: the seconds that the same views have just taken in total; 0 when unknown. not_populated: those that can't be refreshed.
    """
    parameters = context.given(Parameters)
    with Session(settings) as session:
        found = session.rows(
            "SELECT n.nspname AS schema, pg_catalog.pg_get_userbyid(p.proowner) AS owner FROM pg_catalog.pg_proc AS p "
            "JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace "
            "WHERE p.proname = 'refresh_matviews' AND p.pronargs = 0 ORDER BY n.nspname = 'public' DESC LIMIT 1"
        )
        if not found:
            return None
        owner, name = found[0]["owner"], qualified(found[0]["schema"], "refresh_matviews")
        started = time.monotonic()

        def done(without_rows: bool) -> RefreshFunction:
            shown = f"{found[0]['schema']}.refresh_matviews()"
            seconds = round(time.monotonic() - started, 1)
            return {"name": shown, "role": owner, "without_rows": without_rows, "seconds": seconds}

        if parameters["resume"] and not function_proof.may_time_out(session, owner, before):
            context.progress.step("refresh_matviews() without rows")
            if function_proof.succeeds_without_rows(session, owner, f"SELECT {name}()"):
                return done(without_rows=True)
        # The function refreshes all views again and reports no progress, so show the time against the estimate.
        context.progress.step(
            "refresh_matviews()",
            round(before),
            "s",
            estimated=True,
            probe=lambda: (int(time.monotonic() - started), ""),
        )
        called = time.monotonic()
        try:
            login_settings.assume(session, owner)
            function_proof.call(session, owner, f"SELECT {name}()", undone=parameters["resume"])
        except MigrationError as error:
            reason = error.details.get("reason", "")
            if error.code == "connection_lost" and _timed_out(settings, owner, time.monotonic() - called):
                # psycopg2 doesn't show the last message of the server.
                reason = f"terminating connection {advice.TRANSACTION_TIMEOUT}"
            elif error.code != "sql":
                raise
            details = details_of(error)
            remedy = _remedy_of_call(settings, owner, reason, details, parameters["on_source"], not_populated)
            statement = advice.statement(details)
            raise MigrationError(
                f"refresh_matviews() fails when the role {owner!r} calls it, so couch2pg would fail, too: {reason}"
                f"{f' ({statement})' * bool(statement)}. {remedy}",
                "refresh_function_failed",
                **error.details,
            ) from error
        return done(without_rows=False)


def _timed_out(settings: ConnectionSettings, owner: str, seconds: float) -> bool:
    with Session(settings) as session:
        return function_proof.may_time_out(session, owner, seconds)


def _remedy_of_call(
    settings: ConnectionSettings,
    owner: str,
    reason: str,
    details: StatementDetails,
    on_source: dict[str, int | None],
    not_populated: list[RefreshOutcome],
) -> str:
    # A new session, because that of the call has the owner's own limits.
    with Session(settings) as session:
        changed = _only_here(read_graph(session), on_source)
        if changed:
            return f"{changed}, then dump again: {restart.command('dump')}"
        if not_populated and "is not populated" in reason:
            return _cause(not_populated)
        remedy = advice.of_call(session, owner, reason, details)
        return f"{remedy}{advice.then(remedy)}"


def _cause(failed: list[RefreshOutcome]) -> str:
    """Why the first of these can't be refreshed, and what to do."""
    first = failed[0]
    more = f" {len(failed) - 1} more failed; see the details." if len(failed) > 1 else ""
    told = first["advice"] or ""
    return f"The materialized view {first['matview']} can't be refreshed: {first['error']}. {told}{more}{advice.then(told)}"


def _only_here(matviews: list[Matview], on_source: dict[str, int | None]) -> str:
    """For a message: the views that only the target has, and how to undo that. Empty without any, or if the source's are unknown."""
    new = [view for view in matviews if on_source and view.key not in on_source]
    if not new:
        return ""
    names = ", ".join(view.key for view in new)
    lost = sorted(set(on_source) - {view.key for view in matviews})
    back = [
        f"ALTER MATERIALIZED VIEW {qualified(view.schema, view.name)} SET SCHEMA {quote(key[: -len(view.name) - 1])}"
        for view in new
        for key in lost
        if key.endswith(f".{view.name}")
    ]
    undo = f" On the target, run: {'; '.join(back)}; then run again." if back else ""
    return f"The target has {names}, and the source doesn't.{undo} Or make the same change on the source"


def still_valid(settings: ConnectionSettings, known: Known, result: Mapping[str, Any]) -> bool:
    """Whether the database was refreshed, still exists, and has every matview populated that could be.

    known: the result of ``examine``. Before the promotion it must also have the matviews that were refreshed, and no other.
    """
    if result["oid"] != known["oid"]:
        return False
    with Session(settings.maintenance) as session:
        found = find_database_by_oid(session, known["oid"])
    if found is None:
        return False
    with Session(settings.to(found["name"])) as session:
        populated = {matview.key: matview.populated for matview in read_graph(session)}
    without = {entry["matview"] for entry in result["not_populated"]}
    if known["restored"] and set(populated) != without.union(entry["matview"] for entry in result["matviews"]):
        return False
    return without.issuperset(key for key, filled in populated.items() if not filled)
