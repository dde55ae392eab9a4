# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job of ``table_digest_info``: counts and digests of tables."""

from __future__ import annotations

import time
from typing import Any, Callable

from ..common.clock import utc_now
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..jobs.limits import Limits
from ..postgres.bounded_session import PREFLIGHT_LOCK_SECONDS, BoundedSession
from ..postgres.connection import ConnectionSettings, check_no_pooler, server_identity
from ..postgres.database import current_oid
from ..postgres.relations import check_readable, list_tables, select
from . import digest, lock_notes
from .snapshot import HeldSnapshot


def examine(settings: ConnectionSettings, names: list[str], method: str) -> dict[str, Any]:
    """Check everything that can be checked before the job starts; raises MigrationError."""
    with BoundedSession(settings, PREFLIGHT_LOCK_SECONDS) as session:
        check_no_pooler(session)
        tables = list_tables(session).kept
        check_readable(tables, settings.user)
        select(tables, names)
        return {
            "identity": server_identity(session),
            "oid": current_oid(session),
            "method": digest.choose_method(method, session.version),
        }


def job_spec(settings: ConnectionSettings, options: dict[str, Any], known: dict[str, Any], limits: Limits) -> JobSpec:
    """The job. options: the module's; known: the result of ``examine``."""
    fingerprint = {
        "server_identity": known["identity"],
        "database_oid": known["oid"],
        "tables": sorted(options["tables"]),
        "digest_method": known["method"],
    }
    parameters = dict(fingerprint, connection=settings.public(), jobs=max(1, options["jobs"]))
    secrets = {"login_password": settings.password or ""}
    return JobSpec("digest", run, parameters, fingerprint, secrets, once=False, initial_limits=limits)


def run(context: JobContext) -> dict[str, Any]:
    """The entry function of the job ``digest``."""
    parameters = context.parameters

    def on_step(total: int) -> None:
        context.progress.step("count and digest", total, "bytes")

    def on_progress(amount: int, table: str) -> None:
        context.progress.advance(amount, table)
        context.throttle.wait(amount)

    settings = context.connection()
    with lock_notes.shown(context.progress, settings):
        return take(
            settings,
            parameters["tables"],
            parameters["digest_method"],
            parameters["jobs"],
            on_step,
            on_progress,
        )


def take(
    settings: ConnectionSettings,
    names: list[str],
    method: str,
    jobs: int,
    on_step: Callable[[int], None] = lambda _total: None,
    on_progress: Callable[[int, str], None] = lambda _bytes, _table: None,
) -> dict[str, Any]:
    """Rows and digest of each table in ``names`` (all if empty), inside one snapshot."""
    started = time.monotonic()
    with HeldSnapshot(settings) as snapshot:
        tables = select(snapshot.tables.kept, names)
        on_step(sum(table.table_bytes for table in tables))
        taken_at = utc_now()
        found = digest.digest_tables(tables, method, jobs, snapshot.reader, on_progress, reading=snapshot.reading)
        snapshot.check_alive()
        identity = server_identity(snapshot.session)
        left_out = snapshot.tables.left_out
    return {
        "tables": sorted((entry.as_dict() for entry in found), key=lambda entry: str(entry["table"])),
        "rows": sum(entry.rows for entry in found),
        "left_out": left_out,
        "digest_method": method,
        "meaning": digest.METHODS[method],
        "server_identity": identity,
        "database": settings.database,
        "taken_at": taken_at,
        "seconds": round(time.monotonic() - started, 1),
    }
