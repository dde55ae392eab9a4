# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job ``health``, which watches couch2pg after its start. The settings with their secrets stay in their file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Mapping

from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..common.redaction import Redactor
from ..couch2pg import access as couch2pg_access
from ..couch2pg import settings as couch2pg_settings
from ..couch2pg.couchdb_sync import ShownSync
from ..couch2pg.log.incidents import ShownError
from ..couch2pg.log.position import Position
from ..couch2pg.log.reader import summarise
from ..couch2pg.log.remedies import Names
from ..couch2pg.log.source import open_source
from ..host.same_process import GONE, SameProcess
from ..jobs import lock_notes
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..postgres.session import Session
from . import matview_proof
from .health import Proof, Wanted, Watch

# The first run may fetch days of changes in one batch, and then refresh all materialized views.
ALLOWANCE_SECONDS = 3600.0
PAUSES = (0.5, 15.0)
_PASSED_ON = (
    *("settings_file", "log", "since", "process", "status_command", "matviews", "runs", "call_refresh"),
    *("ca_cert", "couchdb_server", "login_host"),
)


class Health(Proof):
    """What couch2pg did while it was watched, and what proves that it is healthy.

    last_completed, next_run: of the last complete run, as couch2pg logged them. process: the one that was watched. position: in the log,
    where the watch ended. checked_at: a time of ``clock.utc_now``.
    """

    runs_completed: int
    runs_errored: int
    changes: int
    refreshes: int
    errors: list[ShownError]
    last_completed: str
    next_run: str
    sync: list[ShownSync]
    process: Mapping[str, object] | None
    notices: list[str]
    position: Position | None
    checked_at: str
    seconds: float


def job_spec(options: Mapping[str, Any]) -> JobSpec:
    """The job for the module's ``options``. Raises MigrationError for unusable settings."""
    settings = couch2pg_settings.load(Path(options["settings_file"]))
    place = settings.postgres
    fingerprint = {
        "postgres": f"{place.host}:{place.port}/{place.database}",
        "couchdb": [entry.key for entry in couch2pg_access.followed(settings)],
    }
    parameters = dict(
        {name: options[name] for name in _PASSED_ON},
        login_port=options["login_port"] or 0,
        timeout=options["timeout"] or default_timeout(settings.sleep_minutes, options["runs"]),
        pause=min(PAUSES[1], max(PAUSES[0], settings.sleep_minutes * 60 / 20)),
    )
    return JobSpec("health", run, parameters, fingerprint, once=False)


def default_timeout(sleep_minutes: float, runs: int) -> float:
    """Seconds without progress after which the watch fails."""
    return (runs + 1) * sleep_minutes * 60 + ALLOWANCE_SECONDS


def run(context: JobContext) -> Health:
    """The work of the job ``health``."""
    parameters = context.parameters
    settings = couch2pg_settings.load(Path(parameters["settings_file"]))
    followed = couch2pg_access.followed(settings)
    reach = couch2pg_access.Reach.of(parameters)
    database = couch2pg_access.connection(reach.postgres(settings))
    watch = Watch(
        database,
        reach.couchdb(settings),
        followed,
        open_source(parameters["log"]),
        parameters["since"],
        SameProcess(parameters["process"], parameters["status_command"]),
        Wanted(
            max(1, parameters["runs"]),
            tuple(parameters["matviews"]),
            parameters["call_refresh"],
            parameters["timeout"],
            parameters["pause"],
        ),
        Redactor(settings.secrets()),
        Names.of(settings, parameters["log"]),
    )
    started = time.monotonic()
    context.progress.step("waiting for couch2pg")
    context.progress.note("couch2pg", watch.tell)
    with lock_notes.shown(context.progress, database):
        watch.wait(lambda total: _track(context, watch, total))
        proof = watch.prove(lambda step: _next_step(context, step))
    log = watch.log
    return {
        "runs_completed": log.runs_completed,
        "runs_errored": log.runs_errored,
        "changes": log.changes,
        "refreshes": log.refreshes,
        "errors": [seen.as_dict() for seen in log.errors],
        "last_completed": log.last_completed,
        "next_run": log.next_run,
        "sync": [entry.as_dict() for entry in watch.sync],
        **proof,
        "process": parameters["process"],
        "notices": watch.notices(proof),
        "position": watch.position,
        "checked_at": utc_now(),
        "seconds": round(time.monotonic() - started, 1),
    }


def _track(context: JobContext, watch: Watch, total: int) -> None:
    context.progress.parallel_track(
        "changes", total, "changes", estimated=True, probe=lambda: (max(total - watch.remaining, 0), "")
    )


def _next_step(context: JobContext, step: str) -> None:
    context.progress.step(step)


def still_valid(options: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Whether the result is still valid: the same process, no error in the log since, every view populated.

    Settings are not compared: changed settings need a restart, after which couch2pg is another process.
    """
    process = SameProcess(options["process"], options["status_command"])
    if (options["process"] or {}) != (result["process"] or {}) or process.state() == GONE:
        return False
    settings = couch2pg_settings.load(Path(options["settings_file"]))
    try:
        log = summarise(open_source(options["log"]).lines(result["position"]), Redactor())
        place = couch2pg_access.Reach.of(options).postgres(settings)
        with Session(couch2pg_access.connection(place)) as session:
            matview_proof.check(session, options["matviews"])
    except MigrationError:
        # A new job reports what is wrong.
        return False
    return not (log.errors or log.exits or log.starts)
