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
from pathlib import Path
from typing import Any

from ..archive import layout, manifest, pg_dump
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..common.parallel import run_together
from ..dump import job as dump_job
from ..evidence import digest, lock_notes
from ..evidence import document as evidence_document
from ..evidence.snapshot import HeldSnapshot
from ..host import programs
from ..host.files import expand, fsync_path, fsync_tree, make_private_folder, read_json, remove_tree, write_json
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..jobs.limits import Limits
from ..pipeline import marks
from ..pipeline.chunks import Chunk, plan
from ..pipeline.crew import Ends, copy_all
from ..postgres.connection import ConnectionSettings, Session
from ..postgres.relations import Table
from ..restore import job as restore_job

# The rows of smaller tables stay in the archive: a connection for each would cost more than it saves.
STREAM_FROM_BYTES = 8 * 1024 * 1024


def examine(settings: ConnectionSettings, source: ConnectionSettings, options: dict[str, Any]) -> dict[str, Any]:
    """Everything that can be checked before the copy starts. Raises MigrationError for what would make it fail."""
    from_source = dump_job.examine(source, options["bin_dir"], "directory", "auto", options["digest_method"])
    program = programs.find("pg_restore", options["bin_dir"])
    programs.check_pg_restore(program, from_source["pg_dump_major"])
    return dict(restore_job.examine(settings, options), source=from_source)


def job_spec(
    settings: ConnectionSettings,
    source: ConnectionSettings,
    options: dict[str, Any],
    known: dict[str, Any],
    limits: Limits,
) -> JobSpec:
    """The job for the module's ``options``, given what ``examine`` returned.

    Its kind is ``restore``, because later phases ask that job for the restored database, whatever the method.
    """
    found = known["source"]
    restored = restore_job.job_spec(settings, options, dict(known, manifest_sha256=""))
    fingerprint = dict(restored.fingerprint, source_database=source.database, digest_method=found["digest_method"])
    parameters = dict(
        restored.parameters,
        **fingerprint,
        source=source.public(),
        source_identity=found["identity"],
        format="directory",
        compression=found["compression"],
        pg_dump_major=found["pg_dump_major"],
    )
    secrets = dict(restored.secrets, source_password=source.password or "")
    return JobSpec(
        "restore", run, parameters, fingerprint, secrets, initial_limits=limits, changeable=restored.changeable
    )


def run(context: JobContext) -> dict[str, Any]:
    """Copy the database; the work of the job. Raises MigrationError; no database then has the real name.

    An attempt that was interrupted before all rows were copied begins again, because its snapshot ended with it. After that
    point, indexes and the rest are resumed.
    """
    parameters = context.parameters
    final = expand(parameters["archive"])
    partial = layout.partial_folder(final)
    root = final if (final / layout.MANIFEST).exists() else partial
    document = read_json(root / layout.EVIDENCE)
    if document and _is_of_this_job(document, parameters):
        context.log("An earlier attempt copied all rows; this one resumes after them.")
        parameters["manifest_sha256"] = _snapshot_name(document)
        result = restore_job.restore(context, root, document)
    else:
        _refuse_foreign(final)
        result, document = _Copy(context, partial).run()
    if not final.exists():
        _finish(partial, document, parameters["jobs"])
        partial.rename(final)
        fsync_path(final.parent)
    archive = dump_job.describe_archive(final, parameters)
    return dict(result, archive=str(final), manifest_sha256=archive["manifest_sha256"], dump=archive)


class _Copy:
    """One attempt from a new snapshot."""

    def __init__(self, context: JobContext, partial: Path) -> None:
        self._context = context
        self._parameters = context.parameters
        self._partial = partial
        self._source = ConnectionSettings.restored(self._parameters["source"], context.secrets.get("source_password"))
        self._target = context.connection().to(self._parameters["incoming"])

    def run(self) -> tuple[dict[str, Any], Evidence]:
        """The result of the restore, and the evidence."""
        _start_empty(self._partial)
        self._context.progress.plan(1)
        with lock_notes.shown(self._context.progress, self._source), HeldSnapshot(self._source) as snapshot:
            document = self._collect(snapshot)
            streamed = [table for table in snapshot.tables.kept if table.table_bytes >= STREAM_FROM_BYTES]
            self._dump_the_rest(snapshot, streamed)
            self._parameters["manifest_sha256"] = _snapshot_name(document)
            result = restore_job.restore(
                self._context, self._partial, document, lambda: self._load(snapshot, document, streamed)
            )
        return result, document

    def _collect(self, snapshot: HeldSnapshot) -> Evidence:
        document = evidence_document.collect(
            snapshot.session, self._parameters["migration_id"], snapshot.identifier, snapshot.tables
        )
        document["digest_method"] = self._parameters["digest_method"]
        document["dump"] = {
            "method": "stream",
            "format": self._parameters["format"],
            "compression": self._parameters["compression"],
            "pg_dump_major": self._parameters["pg_dump_major"],
            "seconds": 0.0,
        }
        # The progress of the archive's own rows needs sizes before the digests have counted the rows.
        document["tables"] = [
            {"table": table.key, "rows": max(0, int(table.estimated_rows)), "bytes": table.table_bytes}
            for table in snapshot.tables.kept
            if table.table_bytes < STREAM_FROM_BYTES
        ]
        return document

    def _dump_the_rest(self, snapshot: HeldSnapshot, streamed: list[Table]) -> None:
        """An archive of everything but the rows of the streamed tables."""
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
        )
        passfile = context.work / "source-passfile"
        passfile.touch(mode=0o600)
        passfile.write_text(self._source.passfile_line(), encoding="utf-8")
        said: list[str] = []

        def listen(line: str) -> None:
            context.log(line)
            if "error:" in line or "FATAL" in line or "detail:" in line:
                said.append(line)

        code = programs.run(command.arguments, self._source.environment(passfile), listen)
        if code:
            raise MigrationError(
                f"pg_dump of the schema ended with exit code {code}: {said[0] if said else 'it gave no reason'}. "
                "Fix the cause, then run again.",
                "pg_dump_failed",
                exit_code=code,
                messages=said[:20],
            )

    def _load(self, snapshot: HeldSnapshot, document: Evidence, streamed: list[Table]) -> None:
        """Copy the rows and digest the source, side by side; then the snapshot is no longer needed."""
        context, jobs = self._context, self._parameters["jobs"]
        tables = snapshot.tables
        stop = threading.Event()
        with Session(self._target) as session:
            complete = marks.prepare(session)
        chunks = [chunk for chunk in plan(snapshot.session, streamed) if chunk.key not in complete]
        context.progress.step("rows", sum(chunk.weight for chunk in chunks), "bytes")
        digested = context.progress.parallel_track("digests", sum(table.table_bytes for table in tables.kept), "bytes")

        def on_chunk(chunk: Chunk, _rows: int) -> None:
            context.progress.advance(chunk.weight, chunk.table)
            context.throttle.wait(chunk.weight, stop)

        def digests() -> list[digest.TableDigest]:
            return digest.digest_tables(
                tables.kept,
                self._parameters["digest_method"],
                max(1, jobs // 2),
                snapshot.reader,
                digested.advance,
                stop,
                reading=snapshot.reading,
            )

        ends = Ends(self._source, self._target, snapshot.identifier)
        found = run_together(lambda: copy_all(ends, chunks, jobs, on_chunk, stop), digests, stop, one_by_one=jobs == 1)
        snapshot.check_alive()
        evidence_document.add_sequences_after(document, evidence_document.sequence_values(snapshot.session))
        evidence_document.add_tables(document, tables, found, self._parameters["digest_method"])
        snapshot.session.close()
        with Session(self._target) as session:
            marks.remove(session)
        # The evidence last: when it is there, all rows are.
        fsync_tree(self._partial)
        write_json(self._partial / layout.EVIDENCE, document)


def _finish(partial: Path, document: Evidence, workers: int) -> None:
    """Write the manifest, which makes the folder an archive for verify."""
    listing = manifest.create(partial, workers)
    manifest.add_origin(listing, document)
    write_json(partial / layout.MANIFEST, listing)
    (partial / layout.HALF_DONE).unlink()


def _snapshot_name(document: Evidence) -> str:
    """Identifies the restore until the manifest is written."""
    return f"{document['server']['identity']} {document['snapshot']}"


def _is_of_this_job(document: Evidence, parameters: dict[str, Any]) -> bool:
    return bool(
        document["migration_id"] == parameters["migration_id"]
        and document["server"]["identity"] == parameters["source_identity"]
        and document["database"]["name"] == parameters["source_database"]
        and document["dump"].get("method") == "stream"
    )


def _refuse_foreign(final: Path) -> None:
    if final.exists():
        raise MigrationError(
            f"{final} is not the folder of this migration's evidence. Move it away, then run again.",
            "archive_exists",
            path=str(final),
        )


def _start_empty(partial: Path) -> None:
    """Remove what an earlier attempt of this migration left, and nothing else."""
    make_private_folder(partial.parent)
    marker = partial / layout.HALF_DONE
    if partial.exists() and not marker.exists():
        raise MigrationError(
            f"{partial} was not made by this collection. Move it away, then run again.",
            "archive_exists",
            path=str(partial),
        )
    remove_tree(partial)
    make_private_folder(partial)
    marker.touch(mode=0o600)
