# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase verify: the job that compares the restored database with the evidence of the source."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Mapping, cast

from ..archive.identity import load_own, manifest_sha256, pg_dump_major, read_evidence
from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..common.evidence_rows import DigestDocument
from ..common.parallel import run_together
from ..evidence import digest, extension_rows
from ..evidence import document as evidence_document
from ..evidence.document import matviews, sequence_values
from ..host import programs
from ..host.files import expand
from ..jobs import job
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..postgres import changes, extension_versions, large_objects
from ..postgres.connection import ConnectionSettings
from ..postgres.database import current_oid, database_size, server
from ..postgres.relations import Table, list_tables
from ..postgres.session import Session, server_identity
from ..record.dumped import dumped_archive
from ..record.promoted import already_promoted
from ..record.restored import counts_when_digested
from ..record.results import CountedTables, RestoreResult, VerifyResult
from ..record.verified import VERIFIED, changed_since, handover_begun, remember_verified, verified
from . import contents, refusal
from .parameters import Fingerprint, Known, Options, Parameters
from .schema import SchemaComparison, compare_schema


def examine(settings: ConnectionSettings, options: Options) -> Known:
    """What is compared.

    Raises MigrationError ``manifest_missing``, ``other_archive``, ``promoted`` (for a recount), or for a program that is
    missing or too old.
    """
    root, state = expand(options["archive"]), expand(options["state_dir"]) / options["migration_id"]
    listing = load_own(root, options["migration_id"], dumped_archive(state))
    bin_dir = options["bin_dir"]
    programs.check_pg_restore(programs.find("pg_restore", bin_dir), pg_dump_major(root, listing))
    promoted = already_promoted(settings, state, settings.database)
    if options["recount"] and promoted is not None:
        raise MigrationError(
            f"The rows of {settings.database!r} can't be compared again: it was verified before its promotion, and couch2pg writes to it "
            "since. What was verified stays in the record. To compare the documents with CouchDB again: ansible-playbook "
            "cht.couch2pg.migrate -i inventory.yml -e couch2pg_recount=true",
            "promoted",
        )
    with Session(settings) as session:
        programs.check_pg_dump(programs.find("pg_dump", bin_dir), session.version)
        return {
            "identity": server_identity(session),
            "oid": current_oid(session),
            "manifest_sha256": manifest_sha256(root),
        }


def job_spec(settings: ConnectionSettings, options: Options, known: Known) -> JobSpec:
    """The job for a verification with the module's ``options``, given what ``examine`` found."""
    fingerprint: Fingerprint = {
        "server_identity": known["identity"],
        "database_oid": known["oid"],
        "manifest_sha256": known["manifest_sha256"],
    }
    parameters: Parameters = {
        **fingerprint,
        "migration_id": options["migration_id"],
        "archive": str(expand(options["archive"])),
        "connection": settings.public(),
        "state": str(expand(options["state_dir"]) / options["migration_id"]),
        "restore_folder": str(job.job_folder(options["state_dir"], options["migration_id"], "restore")),
        "bin_dir": options["bin_dir"],
        "accept_differences": options["accept_differences"],
        "recount": options["recount"],
        "jobs": max(1, options["jobs"]),
    }
    return JobSpec("verify", run, parameters, fingerprint, {"login_password": settings.password or ""}, once=False)


def still_valid(
    settings: ConnectionSettings, state: Path, known: Known, recount: bool, result: Mapping[str, object]
) -> bool:
    """Whether this database was verified against this archive, and nothing was changed in it until couch2pg wrote to it.

    known: what ``examine`` found. couch2pg writes to the database after the promotion, in a rehearsal after the handover has begun. Then
    the verification stays valid, and a rehearsal doesn't count again (``recount``).
    """
    if (result.get("oid"), result.get("manifest_sha256")) != (known["oid"], known["manifest_sha256"]):
        return False
    stored = verified(state, known["identity"], known["oid"])
    if stored is not None and handover_begun(state, known["oid"]):
        return True
    if recount:
        return False
    if already_promoted(settings, state, settings.database) is not None:
        return True
    return stored is not None and not changed_since(settings, stored)


def run(context: JobContext) -> VerifyResult:
    """Compare; the work of the job ``verify``. Raises ``not_the_same`` that names the first differences."""
    parameters = context.given(Parameters)
    settings = context.connection()
    started = time.monotonic()
    state = Path(parameters["state"])
    # Removed first, so that nothing is promoted until this verification has succeeded, too.
    (state / VERIFIED).unlink(missing_ok=True)
    with Session(settings) as session:
        before = changes.read_state(session)
    root = Path(parameters["archive"])
    evidence = read_evidence(root, load_own(root, parameters["migration_id"], parameters["manifest_sha256"]))
    evidence_document.check_format(evidence, root)
    tables, schema = _compare(context, settings, root, evidence, before)
    found = tables["digests"]
    with Session(settings) as session:
        differences = contents.compare_tables(evidence["tables"], found)
        differences += contents.compare_large_objects(evidence["large_objects"], large_objects.digest(session))
        lacking, left_to_do = extension_rows.compare(session, evidence.get("extension_rows") or ())
        differences += contents.rows_of_extensions(lacking)
        differences += contents.compare_sequences(evidence["sequences"], sequence_values(session))
        refreshed = matviews(session)
        differences += contents.compare_populated(evidence["matviews"], refreshed)
        information = schema.information + contents.information(
            evidence, refreshed, extension_versions.installed_versions(session)
        )
        version, size = server(session)["version"], database_size(session, settings.database)
    remaining, accepted = schema.accepting(parameters["accept_differences"])
    refusal.raise_if_different(settings.database, differences, remaining)
    return {
        "oid": parameters["database_oid"],
        "manifest_sha256": parameters["manifest_sha256"],
        "database": settings.database,
        "verified_at": remember_verified(state, parameters["server_identity"], parameters["database_oid"], before),
        **tables,
        "digest_method": evidence["digest_method"],
        "server_version": version,
        "database_bytes": size,
        "tables": len(found),
        "rows": sum(table["rows"] for table in found),
        "objects": schema.objects,
        "accepted": [refusal.shown(difference) for difference in accepted],
        "matviews": len(refreshed),
        "sequences": len(evidence["sequences"]),
        "information": information,
        "notices": contents.notices(evidence["matviews"], refreshed) + left_to_do,
        "seconds": round(time.monotonic() - started, 1),
    }


def _restored(parameters: Parameters) -> RestoreResult | None:
    """The result of the restore that made this very database, or None."""
    restored = job.read_state(Path(parameters["restore_folder"]))
    if restored.status != "done":
        return None
    value = cast("RestoreResult", restored.result["value"])
    same = value["oid"] == parameters["database_oid"] and value["server_identity"] == parameters["server_identity"]
    return value if same else None


def _compare(
    context: JobContext, settings: ConnectionSettings, root: Path, evidence: Evidence, before: changes.DatabaseState
) -> tuple[CountedTables, SchemaComparison]:
    """Compare tables and schema, in parallel unless ``jobs`` is 1. Returns the result of ``_tables``, and the schema's comparison."""
    parameters = context.given(Parameters)
    restored = _restored(parameters)
    stop, one_by_one = threading.Event(), parameters["jobs"] == 1
    both = (programs.find("pg_restore", parameters["bin_dir"]), programs.find("pg_dump", parameters["bin_dir"]))
    counted_tables: list[CountedTables] = []

    def count() -> None:
        kept = None if parameters["recount"] else restored
        counted_tables.append(_tables(context, settings, evidence, kept, before, stop))

    def schema() -> SchemaComparison:
        migration_id = parameters["migration_id"]
        return compare_schema(settings, migration_id, root, evidence, restored, both, context.work, stop, one_by_one)

    context.progress.step("schema")
    comparison = run_together(count, schema, stop, one_by_one)
    return counted_tables[0], comparison


def _tables(
    context: JobContext,
    settings: ConnectionSettings,
    evidence: Evidence,
    restored: RestoreResult | None,
    before: changes.DatabaseState,
    stop: threading.Event,
) -> CountedTables:
    """Counts and digests of the target's tables, and when they were read.

    A digest of the restore (``restored``) is used again if the server has counted no write to the table since. before: the database's
    state now.
    """
    parameters = context.given(Parameters)
    with Session(settings) as session:
        tables = list_tables(session).kept
    kept: dict[str, DigestDocument] = {}
    if restored is not None:
        counts = counts_when_digested(
            Path(parameters["state"]), parameters["server_identity"], parameters["database_oid"]
        )
        changed = changes.rows_changed(counts, before)
        kept = {row["table"]: row for row in restored["tables"] if row["table"] not in changed}
    again = [table for table in tables if table.key not in kept]
    read_at = utc_now()
    digests = {row["table"]: row for row in _digests(context, settings, evidence, again, stop)} if again else {}
    return {
        "digests": [kept.get(table.key) or digests[table.key] for table in tables],
        "counted": "while restoring" if kept else "now",
        "counted_at": restored["digested_at"] if restored is not None and kept else read_at,
        "counted_again": [table.key for table in again] if kept else [],
    }


def _digests(
    context: JobContext,
    settings: ConnectionSettings,
    evidence: Evidence,
    tables: list[Table],
    stop: threading.Event,
) -> list[DigestDocument]:
    context.progress.step("digests", sum(table.table_bytes for table in tables), "bytes")
    found = digest.digest_tables(
        tables,
        evidence["digest_method"],
        context.given(Parameters)["jobs"],
        lambda: Session(settings),
        context.progress.advance,
        stop,
        evidence["tables"],
    )
    return [table.as_dict() for table in found]
