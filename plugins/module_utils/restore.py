# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase restore: the archive into ``<database>_incoming``, section by section, with every message accounted for."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from . import digest, manifest, pg_restore, programs, target_database
from .archive_check import check_archive
from .connection import ConnectionSettings, Session, check_no_pooler, server_identity
from .database import find_database_by_oid
from .errors import MigrationError
from .files import expand, read_json
from .identifiers import check_length
from .job import JobSpec
from .job_context import JobContext
from .relations import Table, list_tables
from .restore_messages import Listener
from .together import run_together
from .workers import run_in_sessions

ENTRY = "restore:run"


def examine(settings: ConnectionSettings, options: dict[str, Any]) -> dict[str, Any]:
    """Everything that can be known before the restore starts; raises MigrationError for what would make it fail.

    The archive may not be there yet (check mode): then ``archive_snapshot`` is None.
    """
    program = programs.find("pg_restore", options["bin_dir"])
    check_length(options["incoming"])
    with Session(settings.maintenance) as session:
        check_no_pooler(session)
        identity = server_identity(session)
    root = expand(options["archive"])
    if not (root / manifest.MANIFEST).exists():
        return {"identity": identity, "archive_snapshot": None}
    listing = manifest.load(root)
    programs.check_pg_restore(program, listing["options"]["pg_dump_major"])
    return {"identity": identity, "archive_snapshot": f"{listing['server_identity']} {listing['snapshot']}"}


def job_spec(settings: ConnectionSettings, options: dict[str, Any], known: dict[str, Any]) -> JobSpec:
    """The job for a restore with the module's ``options``, given what ``examine`` found."""
    fingerprint = {
        "server_identity": known["identity"],
        "database": options["database"],
        "incoming": options["incoming"],
        "archive_snapshot": known["archive_snapshot"],
    }
    parameters = dict(
        fingerprint,
        migration_id=options["migration_id"],
        state_dir=str(expand(options["state_dir"])),
        archive=str(expand(options["archive"])),
        connection=settings.public(),
        bin_dir=options["bin_dir"],
        jobs=max(1, options["jobs"]),
        missing_roles=options["missing_roles"],
        replace_existing=options["replace_existing"],
        maintenance_work_mem=options["maintenance_work_mem"],
    )
    return JobSpec("restore", ENTRY, parameters, fingerprint, {"login_password": settings.password or ""})


def still_valid(settings: ConnectionSettings, result: dict[str, Any]) -> bool:
    """Whether the database that was restored is still there, whatever it is called by now."""
    with Session(settings.maintenance) as session:
        return find_database_by_oid(session, result["oid"]) is not None


def run(context: JobContext) -> dict[str, Any]:
    """Restore the archive; the work of the job ``restore``. A failed one leaves nothing under the real name."""
    parameters = context.parameters
    settings = context.connection()
    root = Path(parameters["archive"])
    started = time.time()
    state = Path(parameters["state_dir"]) / parameters["migration_id"]
    check_archive(root, state, parameters["jobs"], context.progress)
    evidence = read_json(root / manifest.EVIDENCE)
    lender = target_database.check_real_database(settings, parameters["database"], parameters["replace_existing"])
    with Session(settings.maintenance) as session:
        target_database.start_incoming(session, state, parameters["server_identity"], parameters["incoming"])
        created_roles = target_database.create_missing_roles(session, evidence, parameters["missing_roles"])
        oid = target_database.create(session, parameters["incoming"], evidence["database"], lender)
    incoming = settings.to(parameters["incoming"])
    messages, tables, seconds = _fill(context, incoming, root, evidence)
    context.progress.step("analyze", len(tables), "tables")
    seconds["analyze"] = _timed(lambda: _analyze(context, incoming))
    _make_durable(incoming)
    return {
        "incoming": parameters["incoming"],
        "oid": oid,
        "server_identity": parameters["server_identity"],
        "database": parameters["database"],
        "created_roles": created_roles,
        "harmless_messages": messages,
        "tables": [table.as_dict() for table in tables],
        "rows": sum(table.rows for table in tables),
        "seconds": round(time.time() - started, 1),
        "section_seconds": {name: round(value, 1) for name, value in seconds.items()},
        "lender": lender is not None,
        "properties": lender or evidence["database"],
    }


def _fill(
    context: JobContext, incoming: ConnectionSettings, root: Path, evidence: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[digest.TableDigest], dict[str, float]]:
    """The three sections; tables are counted and digested while their indexes are built."""
    parameters = context.parameters
    jobs = parameters["jobs"]
    program = programs.find("pg_restore", parameters["bin_dir"])
    context.progress.step("prepare")
    archive = pg_restore.unpacked(root, evidence["dump"]["format"], context.work)
    listing = context.work / "restore.list"
    pg_restore.write_list(program, archive, listing)
    total = sum(table["bytes"] for table in evidence["tables"])
    harmless: list[dict[str, Any]] = []
    seconds: dict[str, float] = {}
    stop = threading.Event()

    def section(name: str, workers: int) -> None:
        started = time.time()
        command = pg_restore.build(program, name, archive, listing, incoming.database, workers)
        harmless.extend(_run_section(context, incoming, name, command, stop))
        seconds[name] = time.time() - started

    section("pre-data", 1)
    context.progress.step("data", total, "bytes", estimated=True, probe=_database_bytes(incoming))
    section("data", jobs)
    context.progress.step("indexes and digests", total, "bytes", estimated=True)
    tables = list_tables_of(incoming)

    def digests() -> list[digest.TableDigest]:
        return digest.digest_tables(
            tables,
            evidence["digest_method"],
            max(1, jobs // 2),
            lambda: Session(incoming),
            context.progress.advance,
            stop,
        )

    found = run_together(lambda: section("post-data", max(1, jobs - jobs // 2)), digests, stop, one_by_one=jobs == 1)
    return harmless, found, seconds


def list_tables_of(settings: ConnectionSettings) -> list[Table]:
    """The tables of a database that are counted and digested."""
    with Session(settings) as session:
        return list_tables(session).kept


def _run_section(
    context: JobContext, incoming: ConnectionSettings, section: str, command: list[str], stop: threading.Event
) -> list[dict[str, Any]]:
    """One run of pg_restore; returns its harmless messages, raises for every other one and for a bad exit code."""
    listener = Listener()

    def listen(line: str) -> None:
        context.log(line)
        listener.line(line)

    environment = incoming.environment(context.passfile())
    environment["PGOPTIONS"] = pg_restore.session_options(
        {
            "maintenance_work_mem": context.parameters["maintenance_work_mem"],
            "max_parallel_maintenance_workers": context.parameters["jobs"],
            # Made up for by one synchronous commit at the end.
            "synchronous_commit": "off",
            "statement_timeout": 0,
            "lock_timeout": 0,
            "idle_in_transaction_session_timeout": 0,
        }
    )
    code = programs.run(command, environment, listen, stop)
    listener.flush()
    if stop.is_set():
        raise MigrationError("pg_restore was stopped.", "stopped")
    failures = listener.failures
    if failures:
        first = failures[0]
        more = f" ({len(failures) - 1} more messages are in the details)" if len(failures) > 1 else ""
        raise MigrationError(
            f"pg_restore ({section}) reported: {first['message'].splitlines()[0]}. {first['advice']}{more}",
            "pg_restore_failed",
            section=section,
            exit_code=code,
            messages=failures[:20],
        )
    # 1 is what it ends with when it went on after a message; those were all harmless here.
    if code not in (0, 1) or (code == 1 and not listener.found):
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise MigrationError(
            f"pg_restore ({section}) {ended} without a reason; its log is in {context.folder / 'log'}. Run again.",
            "pg_restore_failed",
            section=section,
            exit_code=code,
        )
    return listener.found


def _database_bytes(settings: ConnectionSettings) -> Any:
    """A probe for the bytes that the database has grown to; an answer of 0 when the server doesn't say."""

    def probe() -> int:
        try:
            with Session(settings) as session:
                return int(session.value("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"))
        except MigrationError:
            return 0

    return probe


def _analyze(context: JobContext, incoming: ConnectionSettings) -> None:
    names = [table.sql for table in list_tables_of(incoming)]

    def analyze(session: Session, name: str) -> None:
        session.execute(f"ANALYZE {name}")
        context.progress.advance(1, name)

    run_in_sessions(names, context.parameters["jobs"], lambda: Session(incoming), analyze)


def _make_durable(settings: ConnectionSettings) -> None:
    """One synchronous commit flushes the log of all the asynchronous ones before it."""
    with Session(settings) as session:
        session.execute("SET synchronous_commit = on")
        session.value("SELECT pg_catalog.txid_current()")


def _timed(work: Any) -> float:
    started = time.time()
    work()
    return time.time() - started
