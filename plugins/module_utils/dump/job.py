# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase dump: the job that writes an archive of the source and the evidence of its content, from one snapshot."""

from __future__ import annotations

import re
import shutil
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Mapping

from ..archive import growth as archive_growth
from ..archive import layout, manifest, pg_dump
from ..archive.identity import manifest_sha256
from ..archive.partial import discard, start_empty
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..common.parallel import run_together
from ..common.progress_line import amount as amount_text
from ..evidence import digest
from ..evidence import document as evidence_document
from ..evidence.leave_out import NOTHING, LeaveOut
from ..evidence.snapshot import HeldSnapshot
from ..evidence.snapshot_cost import HeldSnapshotCost
from ..host import programs
from ..host.files import (
    check_writable,
    expand,
    fsync_path,
    fsync_tree,
    moving_away,
    read_json,
    write_json,
)
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..jobs.limits import Limits
from ..jobs.progress import Probe
from ..postgres.connection import ConnectionSettings
from ..postgres.extension_versions import installed_versions
from ..postgres.program_environment import program_environment
from ..postgres.relations import check_readable, check_row_security, list_tables
from ..postgres.server_progress import COPY_SINCE, CopyProgress
from ..postgres.session import Session, check_no_pooler, server_identity
from ..postgres.workers import Growing
from ..record.results import DumpResult
from . import earlier_dump
from .parameters import Fingerprint, Known, Options, Parameters

# At most this many files are listed in the result. The manifest lists all, and the result contains its SHA-256.
LISTED_FILES = 1000


# When less is free, a full disk is the likely reason why pg_dump failed without a message.
LOW_BYTES = 64 * 1024 * 1024
_SERVER_GONE = re.compile(
    "server closed the connection|terminating connection|connection to server .* failed|the database system is"
)


def examine(
    settings: ConnectionSettings,
    bin_dir: str,
    archive_format: str,
    compression: str,
    method: str,
    leaving: LeaveOut = NOTHING,
) -> Known:
    """Check everything that can be checked before the dump starts; raises MigrationError."""
    program = programs.find("pg_dump", bin_dir)
    with Session(settings) as session:
        check_no_pooler(session)
        programs.check_pg_dump(program, session.version)
        tables = list_tables(session).kept
        leaving.check(tables, installed_versions(session), program.major)
        check_readable(session)
        check_row_security(tables, settings.user)
        return {
            "identity": server_identity(session),
            "pg_dump_major": program.major,
            "compression": pg_dump.choose_compression(compression, program, archive_format),
            "digest_method": digest.choose_method(method, session.version),
        }


def job_spec(settings: ConnectionSettings, options: Options, known: Known, limits: Limits) -> JobSpec:
    """The job for a dump. options: the module's; known: the result of ``examine``."""
    fingerprint: Fingerprint = {
        "server_identity": known["identity"],
        "database": settings.database,
        "staging_dir": str(expand(options["staging_dir"])),
        "format": options["format"],
        "compression": known["compression"],
        "digest_method": known["digest_method"],
        "leave_out": LeaveOut.of(options["leave_out"]).as_dict(),
    }
    parameters: Parameters = {
        **fingerprint,
        "migration_id": options["migration_id"],
        "connection": settings.public(),
        "bin_dir": options["bin_dir"],
        "jobs": max(1, options["jobs"]),
        "pg_dump_major": known["pg_dump_major"],
        "alone": _is_alone(options["record"]),
    }
    secrets = {"login_password": settings.password or ""}
    return JobSpec("dump", run, parameters, fingerprint, secrets, initial_limits=limits)


def _is_alone(record: Mapping[str, object] | None) -> bool:
    """Whether the role dump was used alone. Then the record is on this host; a migration has its record on the target."""
    return record is not None and record["kept_on"] == record["host"]


def still_valid(result: Mapping[str, Any]) -> bool:
    """Whether the archive still exists with the same manifest and file sizes."""
    root = Path(result["archive"])
    if manifest_sha256(root) != result["manifest_sha256"]:
        return False
    return not manifest.compare(root, manifest.load(root), workers=1, hashes=False)


def refuse(options: Options) -> None:
    """For check mode: raise the MigrationError of a run that could not write its archive. options: the module's."""
    final = layout.archive_folder(options["staging_dir"], options["migration_id"])
    if final.exists():
        # A complete archive may be the result of a run that was killed at its end. The job accepts it.
        whole = (final / layout.MANIFEST).exists() and not manifest.compare(
            final, manifest.load(final), 1, hashes=False
        )
        if not whole:
            _refuse(final)
    check_writable(final.parent)


def run(context: JobContext) -> DumpResult:
    """Write the archive; the entry function of the job ``dump``.

    Raises MigrationError; the archive's final name then doesn't exist.
    """
    parameters = context.given(Parameters)
    final = layout.archive_folder(parameters["staging_dir"], parameters["migration_id"])
    if final.exists():
        if not earlier_dump.is_finished(final, context):
            _refuse(final)
        context.log("An earlier run was killed after it had finished the archive.")
        return describe_archive(final)
    partial = layout.partial_folder(final)
    document = earlier_dump.evidence_of(partial, context)
    if document:
        context.log("An earlier run was killed after the dump: only the checksums are missing.")
        context.progress.plan(1)
    else:
        document = _make(context, partial)
    _write_manifest(context, partial, document)
    # Record it before the rename, so that a run after a kill still recognises the archive.
    earlier_dump.remember(partial, context)
    (partial / layout.HALF_DONE).unlink(missing_ok=True)
    partial.rename(final)
    fsync_path(final.parent)
    return describe_archive(final)


def _make(context: JobContext, partial: Path) -> Evidence:
    """Write everything but the manifest; returns the evidence, which is written after everything else is durable."""
    parameters = context.given(Parameters)
    if partial.exists():
        context.log("An earlier dump was interrupted. Its snapshot is lost, so the dump starts from the beginning.")
        context.progress.note("restarted", lambda: "restarted: the snapshot of the interrupted dump is lost")
    # The target, which may fetch the archive while it is written, keeps what it has of an attempt with the same name.
    start_empty(partial, uuid.uuid4().hex)
    started = time.monotonic()
    context.progress.plan(2)
    settings = context.connection()
    try:
        with HeldSnapshot(settings) as snapshot:
            leaving = LeaveOut.of(parameters["leave_out"])
            excluded = leaving.arguments(snapshot.tables.kept)
            excluded += pg_dump.through_root(parameters["pg_dump_major"], snapshot.tables.kept)
            document = evidence_document.collect(
                snapshot.session, parameters["migration_id"], snapshot.identifier, snapshot.tables, leaving
            )
            snapshot.tables = leaving.kept(snapshot.tables)
            _dump_and_digest(context, snapshot, document, partial, excluded)
            snapshot.check_alive()
            evidence_document.add_sequences_after(document, evidence_document.sequence_values(snapshot.session))
        document["dump"] = {
            "format": parameters["format"],
            "compression": parameters["compression"],
            "pg_dump_major": parameters["pg_dump_major"],
            "seconds": round(time.monotonic() - started, 1),
            "written": earlier_dump.written(partial),
        }
        fsync_tree(partial)
        write_json(partial / layout.EVIDENCE, document)
    except BaseException:
        # Without its snapshot the archive is useless, and it may have filled a disk that the server needs.
        with suppress(OSError):
            discard(partial)
        raise
    return document


def describe_archive(final: Path) -> DumpResult:
    """The result of a dump, for the finished archive in the folder ``final``."""
    listing = manifest.load(final)
    document: Evidence = read_json(final / layout.EVIDENCE)
    return {
        "archive": str(final),
        "bytes": listing["bytes"],
        "files": len(listing["files"]),
        "file_list": manifest.largest(listing, LISTED_FILES),
        "manifest_sha256": manifest_sha256(final),
        "seconds": document["dump"]["seconds"],
        "format": document["dump"]["format"],
        "compression": document["dump"]["compression"],
        "digest_method": document["digest_method"],
        "snapshot": document["snapshot"],
        "server_version": document["server"]["version"],
        "server_identity": document["server"]["identity"],
        "database_oid": document["database"]["oid"],
        "database_bytes": document["database"]["bytes"],
        "rows": sum(table["rows"] for table in document["tables"]),
        "tables": document["tables"],
        "matviews": document["matviews"],
        "left_out": document["left_out"],
        "couchdb_progress": document["couchdb_progress"],
    }


def _refuse(final: Path) -> None:
    """Raise MigrationError ``archive_exists``: an altered archive or something else has the archive's name."""
    changed = ""
    if (final / layout.MANIFEST).exists():
        changed = manifest.compare(final, manifest.load(final), workers=1, hashes=False).sentence()
    what = f"was altered after the dump: {changed}" if changed else "is not the finished archive of this job"
    raise MigrationError(f"{final} {what}. {moving_away(final)}", "archive_exists", path=str(final))


def _dump_and_digest(
    context: JobContext, snapshot: HeldSnapshot, document: Evidence, partial: Path, excluded: list[str]
) -> None:
    """Run pg_dump and the digests in parallel, with ``jobs`` workers in total; a failure of one stops the other."""
    parameters = context.given(Parameters)
    jobs = parameters["jobs"]
    tables = snapshot.tables
    settings = context.connection()
    sizes = {table.key: table.table_bytes for table in tables.kept}
    total = sum(sizes.values())
    stop, dumped = threading.Event(), threading.Event()
    # The planner's estimates; the exact numbers are only known after the digests.
    rows = {table.key: table.estimated_rows for table in tables.kept}
    copied = CopyProgress(settings, sizes, rows, one_by_one=_dump_workers(parameters) == 1)
    probe: Probe = copied
    if snapshot.session.version < COPY_SINCE:
        kind, compression = parameters["format"], parameters["compression"]
        # The estimate is only for display, so its failure must not fail the dump.
        with suppress(MigrationError):
            expected = archive_growth.expected_bytes(settings, tables.kept, kind, compression)
            probe = archive_growth.ArchiveGrowth(partial, copied, total, expected)
    held = HeldSnapshotCost(settings, time.monotonic())
    context.progress.step("dump", total, "bytes", estimated=True, probe=probe)
    context.progress.note("snapshot", held.describe)
    digested = context.progress.parallel_track("digests", total, "bytes")

    def on_digest(amount: int, table: str) -> None:
        digested.advance(amount, table)
        context.throttle.wait(amount, stop)

    def take_digests() -> list[digest.TableDigest]:
        return digest.digest_tables(
            tables.kept,
            parameters["digest_method"],
            Growing(jobs, max(1, jobs // 2), dumped),
            snapshot.reader,
            on_digest,
            stop,
            reading=snapshot.reading,
        )

    def dump() -> None:
        _run_pg_dump(context, snapshot, _dump_workers(parameters), partial, copied, stop, excluded)
        dumped.set()

    try:
        digests = run_together(dump, take_digests, stop, one_by_one=jobs == 1)
    finally:
        context.progress.note("snapshot", None)
        copied.close()
        held.close()
    evidence_document.add_tables(document, tables, digests, parameters["digest_method"])


def _dump_workers(parameters: Parameters) -> int:
    """The number of pg_dump's workers: half of ``jobs``; one for formats other than directory."""
    jobs = parameters["jobs"]
    return max(1, jobs - jobs // 2) if parameters["format"] == "directory" else 1


def _run_pg_dump(
    context: JobContext,
    snapshot: HeldSnapshot,
    jobs: int,
    partial: Path,
    copied: CopyProgress,
    stop: threading.Event,
    excluded: list[str],
) -> None:
    parameters = context.given(Parameters)
    command = pg_dump.build(
        programs.find("pg_dump", parameters["bin_dir"]),
        parameters["format"],
        partial,
        snapshot.identifier,
        jobs,
        parameters["compression"],
        context.connection().conninfo(),
        snapshot.encoding,
        excluded=excluded,
    )
    errors: list[str] = []

    def listen(line: str) -> None:
        context.log(line)
        copied.listen(line)
        # With --verbose, pg_dump prints every step; errors contain one of these words.
        if any(word in line for word in ("error:", "ERROR:", "FATAL:", "detail:", "fatal", "No space", "gzip")):
            errors.append(line)

    environment = dict(program_environment(context.connection(), context.passfile()), TMPDIR=str(context.work))

    def done() -> int:
        # Before PostgreSQL 14, the bytes read from a running table are unknown; the bytes written are a lower bound.
        return max(copied()[0], sum(stat.st_size for _path, stat in manifest.list_files(partial)))

    with context.throttle.pacing("pg_dump", done):
        code = programs.run(command.arguments, environment, listen, stop, command.output, command.through)
    if stop.is_set():
        raise MigrationError("pg_dump was stopped.", "stopped")
    if code != 0:
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        # The snapshot still holds its locks. So a session that waits for an exclusive lock is still there, and can be named.
        who = pg_dump.kept_waiting(context.connection(), errors)
        if who:
            raise MigrationError(
                f"pg_dump could not lock a table: {who} The incomplete archive was removed.",
                "locked",
                messages=errors[:20],
            )
        raise MigrationError(
            f"pg_dump {ended}: {errors[0] if errors else 'it gave no reason'}. {_advice(errors, partial)}"
            "The incomplete archive was removed. Fix the cause, then run again.",
            "pg_dump_failed",
            exit_code=code,
            messages=errors[:20],
        )


def _advice(errors: list[str], partial: Path) -> str:
    """What the messages of pg_dump point to: the server, or the disk; empty when they point to neither."""
    if any(_SERVER_GONE.search(line) for line in errors):
        return "The source's server ended the connection: check its log, and start it if it doesn't run. "
    if any("worker process died" in line for line in errors):
        return "The kernel or somebody killed a worker of pg_dump; most often memory ran out (see journalctl -k). "
    free = shutil.disk_usage(partial).free
    if free < LOW_BYTES or any("No space" in line for line in errors):
        return f"{amount_text(free, 'bytes')} are free in {partial.parent}. "
    return ""


def _write_manifest(context: JobContext, partial: Path, document: Evidence) -> None:
    sizes = sum(stat.st_size for _path, stat in manifest.list_files(partial))
    context.progress.step("checksums", sizes, "bytes")

    def on_bytes(amount: int, name: str) -> None:
        context.progress.advance(amount, name)
        context.throttle.wait(amount)

    listing = manifest.create(partial, context.given(Parameters)["jobs"], on_bytes)
    manifest.add_origin(listing, document)
    write_json(partial / layout.MANIFEST, listing)
