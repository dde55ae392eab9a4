# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method stream: rows go from server to server in parallel chunks of one snapshot, without an archive of them.

pg_dump writes an archive of everything but the rows of the large tables. It is restored like any other archive, and the rows
of the large tables follow through pipelines (COPY to COPY), while the source is digested in the same snapshot. So this method
hands the same evidence, in the same kind of folder, to refresh and verify.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from ..archive import layout, pg_dump
from ..archive import partial as partial_archive
from ..archive.schema_dump import dump_schema
from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..common.parallel import run_together
from ..dump import job as dump_job
from ..evidence import digest
from ..evidence import document as evidence_document
from ..evidence.leave_out import LeaveOut
from ..evidence.snapshot import HeldSnapshot
from ..gate import access, key, tunnel
from ..host import programs
from ..host.files import (
    expand,
    fsync_path,
    fsync_tree,
    moving_away,
    read_json,
    write_json,
)
from ..jobs import lock_notes
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..jobs.limits import Limits
from ..pipeline import marks
from ..pipeline.chunks import Chunk, plan
from ..pipeline.crew import Ends, copy_all
from ..postgres import loading
from ..postgres.connection import ConnectionSettings
from ..postgres.relations import Table
from ..postgres.session import Session
from ..postgres.workers import run_in_sessions
from ..record.results import RestoreResult, StreamResult
from ..restore import job as restore_job
from ..restore.steps import RestoreSteps
from . import holder
from .parameters import Fingerprint, Known, Options, Parameters

# The rows of smaller tables stay in the archive: a connection for each would cost more than it saves.
STREAM_FROM_BYTES = 8 * 1024 * 1024
# PostgreSQL allows 1664 columns in a query, and the query of a chunk has two for each column of the table.
MOST_COLUMNS = 800
# A lost connection is opened again: at most TRIES failures in a row without a new chunk, and a pause before each attempt.
TRIES = 5
PAUSE_SECONDS = 5.0
_LOST = ("connection_lost", "unreachable", "worker_died")


def examine(settings: ConnectionSettings, source: ConnectionSettings, options: Options) -> Known:
    """Everything that can be checked before the copy starts. Raises MigrationError for what would make it fail."""
    from_source = dump_job.examine(
        source, options["bin_dir"], "directory", "auto", options["digest_method"], LeaveOut.of(options["leave_out"])
    )
    program = programs.find("pg_restore", options["bin_dir"])
    programs.check_pg_restore(program, from_source["pg_dump_major"])
    return {
        **restore_job.examine(settings, options),
        "source": {
            "identity": from_source["identity"],
            "pg_dump_major": from_source["pg_dump_major"],
            "compression": from_source["compression"],
            "digest_method": from_source["digest_method"],
        },
    }


def job_spec(
    settings: ConnectionSettings,
    source: ConnectionSettings,
    options: Options,
    known: Known,
    limits: Limits,
) -> JobSpec:
    """The job for the module's ``options``, given what ``examine`` returned.

    Its kind is ``restore``, because later phases ask that job for the restored database, whatever the method.
    """
    found = known["source"]
    # Its archive doesn't exist yet.
    of_restore = restore_job.fingerprint(options, {"identity": known["identity"], "manifest_sha256": None})
    fingerprint: Fingerprint = {
        **of_restore,
        "source_database": source.database,
        "digest_method": found["digest_method"],
        "leave_out": LeaveOut.of(options["leave_out"]).as_dict(),
    }
    parameters: Parameters = {
        **restore_job.job_parameters(settings, options, of_restore),
        **fingerprint,
        "source": source.public(),
        "source_identity": found["identity"],
        "format": "directory",
        "compression": found["compression"],
        "pg_dump_major": found["pg_dump_major"],
        "snapshot": options["snapshot"],
        "tunnel": tunnel.parameters(options["tunnel"]),
    }
    secrets = {"login_password": settings.password or "", "source_password": source.password or ""}
    return JobSpec(
        "restore", run, parameters, fingerprint, secrets, initial_limits=limits, changeable=restore_job.CHANGEABLE
    )


def run(context: JobContext) -> StreamResult:
    """Copy the database; the work of the job. Raises MigrationError; no database then has the real name.

    An attempt that was interrupted before all rows were copied is resumed while its snapshot is held; otherwise the copy starts from
    the beginning. After all rows are copied, an interrupted attempt is always resumed.
    """
    parameters = context.given(Parameters)
    source = ConnectionSettings.restored(parameters["source"], context.secrets.get("source_password"))
    try:
        with tunnel.to_source(source, context.folder, parameters["tunnel"], log=context.log) as reached:
            return _copy_or_resume(context, reached)
    finally:
        access.end(key.key_folder(context.folder))


def _copy_or_resume(context: JobContext, source: ConnectionSettings) -> StreamResult:
    parameters = context.given(Parameters)
    final = expand(parameters["archive"])
    partial = layout.partial_folder(final)
    root = final if (final / layout.MANIFEST).exists() else partial
    document = read_json(root / layout.EVIDENCE)
    ours = bool(document) and _is_of_this_job(document, parameters)
    if ours and _has_its_rows(context, document):
        context.log("An earlier attempt copied all rows; this one resumes after them.")
        parameters["manifest_sha256"] = _snapshot_name(document)
        if parameters["snapshot"]:
            holder.release(source, parameters["snapshot"]["backend"])
        result = restore_job.restore(context, root, document)
    else:
        if ours and root == final:
            partial_archive.take_back(final)
        _refuse_foreign(final)
        result, document = _Copy(context, source, partial).run()
    if not final.exists():
        partial_archive.finish(partial, document, parameters["jobs"])
        partial.rename(final)
        fsync_path(final.parent)
    archive = dump_job.describe_archive(final)
    return {**result, "archive": str(final), "manifest_sha256": archive["manifest_sha256"], "dump": archive}


class _Copy:
    """One attempt to copy, from a snapshot that a job on the source holds, or from one that this job holds itself."""

    def __init__(self, context: JobContext, source: ConnectionSettings, partial: Path) -> None:
        self._context = context
        self._parameters = context.given(Parameters)
        self._partial = partial
        self._source = source
        self._target = context.connection().to(self._parameters["incoming"])
        self._held = self._parameters["snapshot"]
        self._leaving = LeaveOut.of(self._parameters["leave_out"])
        self._snapshot: HeldSnapshot
        # The digests of the tables that are not streamed.
        self._digests: list[digest.TableDigest] | None = None
        self._recipes: dict[str, digest.Recipe] = {}
        self._copied = self._resumed_chunks = 0

    def run(self) -> tuple[RestoreResult, Evidence]:
        """The result of the restore, and the evidence."""
        context = self._context
        context.progress.plan(1)
        self._snapshot = self._attach()
        try:
            with lock_notes.shown(context.progress, self._source):
                excluded = self._leaving.arguments(self._snapshot.tables.kept)
                excluded += pg_dump.through_root(self._parameters["pg_dump_major"], self._snapshot.tables.kept)
                streamed = self._streamed()
                document = self._collect(self._snapshot, streamed)
                self._snapshot.tables = self._leaving.kept(self._snapshot.tables)
                name = _snapshot_name(document)
                if partial_archive.start_empty(self._partial, name) not in ("", name):
                    lost = "the snapshot of the earlier attempt is lost, so all rows are copied again"
                    context.log(f"Restarted: {lost}.")
                    context.progress.note("restarted", lambda: f"restarted: {lost}")
                self._dump_the_rest(self._snapshot, streamed, excluded)
                self._parameters["manifest_sha256"] = name
                result = restore_job.restore(context, self._partial, document, lambda: self._load(document, streamed))
        finally:
            self._snapshot.session.close()
        result["resumed_chunks"] = self._resumed_chunks
        return result, document

    def _attach(self) -> HeldSnapshot:
        return HeldSnapshot(self._source, self._held["identifier"] if self._held else "")

    def _streamed(self) -> list[Table]:
        """The tables whose rows are streamed. Also sets the recipes of their digests."""
        snapshot = self._snapshot
        tables = [table for table in self._leaving.kept(snapshot.tables).kept if table.table_bytes >= STREAM_FROM_BYTES]
        self._recipes = digest.recipes(tables, self._parameters["digest_method"], snapshot.reader)
        with snapshot.reader() as session:
            late = loading.last(session)
        return [table for table in tables if table.oid not in late and _may_stream(table, self._recipes[table.key])]

    def _collect(self, snapshot: HeldSnapshot, streamed: list[Table]) -> Evidence:
        document = evidence_document.collect(
            snapshot.session, self._parameters["migration_id"], snapshot.identifier, snapshot.tables, self._leaving
        )
        document["digest_method"] = self._parameters["digest_method"]
        document["dump"] = {
            "method": "stream",
            "format": self._parameters["format"],
            "compression": self._parameters["compression"],
            "pg_dump_major": self._parameters["pg_dump_major"],
            "seconds": 0.0,
        }
        names = {table.key for table in streamed}
        # The progress of the archive's own rows needs sizes before the digests have counted the rows.
        document["tables"] = [
            {"table": table.key, "rows": max(0, int(table.estimated_rows)), "bytes": table.table_bytes}
            for table in self._leaving.kept(snapshot.tables).kept
            if table.key not in names
        ]
        return document

    def _dump_the_rest(self, snapshot: HeldSnapshot, streamed: list[Table], excluded: list[str]) -> None:
        """An archive of everything but the rows of the streamed tables. ``excluded``: pg_dump's options for what is left out."""
        context = self._context
        context.progress.step("schema")
        command = pg_dump.build(
            programs.find("pg_dump", self._parameters["bin_dir"]),
            self._parameters["format"],
            self._partial,
            snapshot.identifier,
            1,
            self._parameters["compression"],
            self._source.conninfo(),
            snapshot.encoding,
            [table.sql for table in streamed],
            excluded,
        )
        dump_schema(command, self._source, context.work, context.log)

    def _load(self, document: Evidence, streamed: list[Table]) -> None:
        """Copy the rows and digest the source; then the snapshot is no longer needed."""
        parameters = self._parameters
        failures = 0
        while True:
            before = self._copied
            try:
                if failures and self._held:
                    self._snapshot.session.close()
                    self._snapshot = self._attach()
                    self._snapshot.tables = self._leaving.kept(self._snapshot.tables)
                others = self._copy_and_digest(streamed)
                self._snapshot.check_alive()
                break
            except MigrationError as error:
                failures = 1 if self._copied > before else failures + 1
                if error.code not in _LOST or failures == TRIES or not self._is_held():
                    raise
                self._context.log(f"{error.message} Trying again.")
                self._context.progress.note("lost", lambda: "connection lost, connecting again")
                time.sleep(PAUSE_SECONDS)
        session, tables = self._snapshot.session, self._snapshot.tables
        evidence_document.add_sequences_after(document, evidence_document.sequence_values(session))
        with Session(self._target) as target:
            copied = marks.contents(target)
        found = [self._recipes[table.key].digest(table, *copied[table.key]) for table in streamed]
        evidence_document.add_tables(document, tables, others + found, parameters["digest_method"])
        session.close()
        if self._held:
            holder.release(self._source, self._held["backend"])
        # Written last: the evidence shows that all rows are copied.
        fsync_tree(self._partial)
        write_json(self._partial / layout.EVIDENCE, document)

    def _is_held(self) -> bool:
        """Whether the snapshot may still be there after a lost connection."""
        if self._held:
            return True
        try:
            self._snapshot.check_alive()
        except MigrationError:
            return False
        return True

    def _copy_and_digest(self, streamed: list[Table]) -> list[digest.TableDigest]:
        """Copy the chunks that are missing; meanwhile digest the other tables of the source. Returns their digests.

        The statements that read the streamed rows also digest them. The rows of each streamed table are counted separately, to notice
        when these statements miss a part of the table.
        """
        context, jobs, snapshot = self._context, self._parameters["jobs"], self._snapshot
        names = {table.key for table in streamed}
        others = [table for table in snapshot.tables.kept if table.key not in names]
        stop = threading.Event()
        with Session(self._target) as session:
            chunks, complete = marks.prepare(session, lambda: plan(snapshot.session, streamed, self._recipes))
        self._resumed_chunks = self._resumed_chunks or complete - self._copied
        # Rows, indexes, analyze.
        context.progress.plan(3)
        context.progress.step("rows", sum(chunk.weight for chunk in chunks), "bytes")

        def on_chunk(chunk: Chunk, _rows: int) -> None:
            self._copied += 1
            context.progress.note("lost", None)
            context.progress.advance(chunk.weight, chunk.table)
            context.throttle.wait(chunk.weight, stop)

        def copy() -> None:
            copy_all(Ends(self._source, self._target, snapshot.identifier), chunks, jobs, on_chunk, stop)

        def digests_and_counts() -> dict[str, int]:
            # After a lost connection, digests of the same snapshot are still valid.
            if self._digests is None:
                self._digests = digest.digest_tables(
                    others,
                    self._parameters["digest_method"],
                    max(1, jobs // 2),
                    snapshot.reader,
                    stop=stop,
                    reading=snapshot.reading,
                )
            return dict(run_in_sessions(streamed, 1, snapshot.reader, self._count, stop))

        counts = run_together(copy, digests_and_counts, stop, one_by_one=jobs == 1)
        with Session(self._target) as session:
            copied = marks.contents(session)
        for table in streamed:
            _check_rows(table.key, counts[table.key], copied.get(table.key, (0, []))[0])
        return self._digests or []

    def _count(self, session: Session, table: Table) -> tuple[str, int]:
        with self._snapshot.reading(session, table) as reader:
            return table.key, int(reader.value(f"SELECT pg_catalog.count(*) FROM ONLY {table.sql}"))


def _may_stream(table: Table, recipe: digest.Recipe) -> bool:
    """Whether the rows can be streamed: not through a partition root, with no special settings, and with neither 0 nor too many columns."""
    return bool(
        not table.tree and not recipe.search_path and not recipe.rounded and 0 < len(recipe.columns) <= MOST_COLUMNS
    )


def _check_rows(table: str, on_source: int, copied: int) -> None:
    if on_source != copied:
        raise MigrationError(
            f"{table} has {counted(on_source, 'row')} in the source's snapshot, and the copy has {copied}. Report this as a fault of the "
            "collection.",
            "rows_differ",
            table=table,
        )


def _snapshot_name(document: Evidence) -> str:
    """Identifies the restore until the manifest is written."""
    return f"{document['server']['identity']} {document['snapshot']}"


def _is_of_this_job(document: Evidence, parameters: Parameters) -> bool:
    return bool(
        document["migration_id"] == parameters["migration_id"]
        and document["server"]["identity"] == parameters["source_identity"]
        and document["database"]["name"] == parameters["source_database"]
        and document["dump"].get("method") == "stream"
    )


def _has_its_rows(context: JobContext, document: Evidence) -> bool:
    """Whether the database into which an earlier attempt copied all rows still exists. The archive has only a part of these rows."""
    parameters = context.given(Parameters)
    state = expand(parameters["state_dir"]) / parameters["migration_id"]
    steps = RestoreSteps(state, parameters["server_identity"], _snapshot_name(document))
    with Session(context.connection().maintenance) as session:
        return restore_job.is_kept(session, parameters["incoming"], steps)


def _refuse_foreign(final: Path) -> None:
    if final.exists():
        raise MigrationError(
            f"{final} is not the folder of this migration's evidence. {moving_away(final)}",
            "archive_exists",
            path=str(final),
        )
