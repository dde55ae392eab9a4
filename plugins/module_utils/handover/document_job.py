# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job of ``document_digest``: documents and checkpoints of one side in one snapshot."""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, TypedDict

from ..common.clock import utc_now
from ..evidence.snapshot import HeldSnapshot
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..jobs.limits import Limits
from ..postgres.connection import ConnectionSettings
from ..postgres.database import current_oid
from ..postgres.relations import Table, check_couchdb, check_readable, list_tables
from ..postgres.session import Session, check_no_pooler, server_identity
from . import document_buckets


class DigestedDocuments(TypedDict, total=False):
    """What one snapshot contains. progress: the checkpoints of couch2pg, by their key; taken_at: a time of ``clock.utc_now``.

    tables, packed: the number of documents of each table, and the digests. count, documents: in place of these, the documents in the
    buckets of the option ``only``.
    """

    progress: dict[str, str]
    taken_at: str
    seconds: float
    tables: dict[str, int]
    packed: document_buckets.PackedDigests
    count: int
    documents: str


def job_spec(settings: ConnectionSettings, options: Mapping[str, Any], limits: Limits) -> JobSpec:
    """The job for the module's ``options``. Raises MigrationError for options and databases with which the job would fail."""
    document_buckets.check_number(options["buckets"])
    with Session(settings) as session:
        check_no_pooler(session)
        tables = list_tables(session).kept
        check_couchdb(tables)
        check_readable(session, _documents(tables))
        fingerprint = {
            "server_identity": server_identity(session),
            "database_oid": current_oid(session),
            "buckets": options["buckets"],
            "only": {name: [int(number) for number in numbers] for name, numbers in options["only"].items()},
        }
    parameters = dict(
        fingerprint, connection=settings.public(), jobs=max(1, options["jobs"]), most=options["most_documents"]
    )
    secrets = {"login_password": settings.password or ""}
    return JobSpec(
        f"reconcile-{options['side']}", run, parameters, fingerprint, secrets, once=False, initial_limits=limits
    )


def run(context: JobContext) -> DigestedDocuments:
    """The work of the job ``reconcile-source`` or ``reconcile-target``."""

    def on_step(total: int) -> None:
        context.progress.step("documents", total, "bytes")

    def on_progress(amount: int, table: str) -> None:
        context.progress.advance(amount, table)
        context.throttle.wait(amount)

    return look(context.connection(), context.parameters, on_step, on_progress)


def look(
    settings: ConnectionSettings,
    parameters: Mapping[str, Any],
    on_step: Callable[[int], None] = lambda _total: None,
    on_progress: Callable[[int, str], None] = lambda _bytes, _table: None,
) -> DigestedDocuments:
    """Digests of all buckets; with ``only``, the documents in these buckets. Both with the checkpoints of the same snapshot."""
    started = time.monotonic()
    buckets, only, jobs = parameters["buckets"], parameters["only"], parameters["jobs"]
    with HeldSnapshot(settings) as snapshot:
        tables = [table for table in _documents(snapshot.tables.kept) if not only or table.name in only]
        on_step(sum(table.table_bytes for table in tables))
        progress = snapshot.session.rows("SELECT source::text AS key, seq::text AS seq FROM public.couchdb_progress")
        found: DigestedDocuments = {
            "progress": {row["key"]: row["seq"] for row in progress if row["seq"] is not None},
            "taken_at": utc_now(),
        }

        if only:
            listed = document_buckets.list_documents(
                tables, only, buckets, parameters["most"], jobs, snapshot.reader, on_progress, snapshot.reading
            )
            found["count"], found["documents"] = len(listed), document_buckets.pack_documents(listed)
        else:
            taken = document_buckets.take(tables, buckets, jobs, snapshot.reader, on_progress, snapshot.reading)
            found["tables"], found["packed"] = taken.documents, document_buckets.pack(taken.digests, buckets)
        snapshot.check_alive()
    found["seconds"] = round(time.monotonic() - started, 1)
    return found


def _documents(tables: list[Table]) -> list[Table]:
    return [table for table in tables if table.schema == "public" and table.name in document_buckets.TABLES]
