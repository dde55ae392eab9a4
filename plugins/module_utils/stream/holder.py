# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job on the source that holds the snapshot of a copy, so that it outlives the connection and the job of the target.

It ends when the target's job releases it (all rows are copied), when nobody has used the snapshot for a while, or when the
source's server restarts.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Mapping, TypedDict

from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..evidence.snapshot import HeldSnapshot
from ..evidence.snapshot_cost import HeldSnapshotCost
from ..host.files import read_json, write_json
from ..jobs import job
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..postgres.connection import ConnectionSettings
from ..postgres.session import LOCK_SECONDS, Session, check_no_pooler, running_server, server_identity
from .parameters import Snapshot

KIND = "snapshot"
FILE = "snapshot.json"
LOOK_SECONDS = 5.0
POLL_SECONDS = 0.1
# Longer than the wait for a lock: a job that can't get one has failed by then.
START_SECONDS = LOCK_SECONDS + 60.0

# In a transaction, pg_stat_activity keeps showing its first state, so pg_stat_clear_snapshot() is called before this query.
_IN_USE = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_stat_activity AS other, pg_catalog.pg_stat_activity AS own
    WHERE own.pid = pg_catalog.pg_backend_pid() AND other.pid <> own.pid AND other.application_name = own.application_name
          AND other.datid = own.datid AND other.backend_xmin::text = own.backend_xmin::text AND other.backend_start > own.backend_start
)
"""
_RELEASE = """
SELECT pg_catalog.pg_terminate_backend(other.pid) FROM pg_catalog.pg_stat_activity AS other, pg_catalog.pg_stat_activity AS own
WHERE own.pid = pg_catalog.pg_backend_pid() AND other.pid = %s AND other.application_name = own.application_name
      AND other.datid = own.datid AND other.usesysid = own.usesysid
"""


class Held(Snapshot):
    """The content of FILE. held_since: a time of ``clock.utc_now``."""

    held_since: str


class Fingerprint(TypedDict):
    """What identifies the work: server and database."""

    server_identity: str
    database: str


class Parameters(Fingerprint):
    """The parameters of the job."""

    connection: Mapping[str, object]
    unused_minutes: int


class Ended(TypedDict):
    """The result of the job. ended: why, ``released`` or ``unused``."""

    ended: str


def job_spec(settings: ConnectionSettings, unused_minutes: int) -> JobSpec:
    """The job that holds a snapshot of the database of ``settings``. It ends when nothing used the snapshot for ``unused_minutes``."""
    with Session(settings) as session:
        check_no_pooler(session)
        fingerprint: Fingerprint = {"server_identity": server_identity(session), "database": settings.database}
    parameters: Parameters = {**fingerprint, "connection": settings.public(), "unused_minutes": unused_minutes}
    secrets = {"login_password": settings.password or ""}
    return JobSpec(KIND, run, parameters, fingerprint, secrets, once=False)


def hold(folder: Path, spec: JobSpec) -> tuple[Held, bool]:
    """Start the job in ``folder`` or join it; returns its snapshot once it holds one, and whether this call started it.

    Raises the job's MigrationError when it could not take one.
    """
    state = job.start_or_join(folder, spec, lambda _result: False)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found: Held | None = read_json(folder / "work" / FILE)
        # The file is read before the state, because a job that ends removes its file.
        now = job.read_state(folder)
        if now.status != "running":
            now.raise_if_failed()
            break
        if found is not None:
            return found, state.started
        time.sleep(POLL_SECONDS)
    raise MigrationError(
        f"The job that holds the snapshot did not take one. See {folder / 'log'}, then run again.", "snapshot_not_held"
    )


def release(settings: ConnectionSettings, backend: int) -> None:
    """End the session that holds the snapshot, from any host. Does nothing when that session has ended already."""
    with Session(settings) as session:
        session.rows(_RELEASE, [backend])


def run(context: JobContext) -> Ended:
    """Hold a snapshot; the work of the job."""
    settings = context.connection()
    context.progress.step("snapshot")
    with HeldSnapshot(settings) as snapshot:
        found: Held = {
            "identifier": snapshot.identifier,
            "backend": snapshot.session.backend_pid,
            "held_since": utc_now(),
        }
        write_json(context.work / FILE, found)
        cost = HeldSnapshotCost(settings, time.monotonic())
        context.progress.note("snapshot", cost.describe)
        try:
            return {"ended": _watch(settings, snapshot.session, context.given(Parameters)["unused_minutes"] * 60)}
        finally:
            context.progress.note("snapshot", None)
            cost.close()


def _watch(settings: ConnectionSettings, session: Session, unused_seconds: float) -> str:
    server = running_server(session)
    last_used = time.monotonic()
    while time.monotonic() - last_used < unused_seconds:
        time.sleep(LOOK_SECONDS)
        try:
            session.rows("SELECT pg_catalog.pg_stat_clear_snapshot()")
            if session.value(_IN_USE):
                last_used = time.monotonic()
        except MigrationError as error:
            if error.code != "connection_lost" or not _is_the_same(settings, server):
                raise
            return "released"
    return "unused"


def _is_the_same(settings: ConnectionSettings, server: str) -> bool:
    """Whether the server runs and was not restarted. Then only the session of the snapshot was ended."""
    try:
        with Session(settings) as session:
            return running_server(session) == server
    except MigrationError:
        return False
