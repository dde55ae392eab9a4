# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase verify: the job that compares the restored database with the evidence of the source."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Mapping, Sequence, cast

from ..archive.identity import load_own, manifest_sha256, pg_dump_major, read_evidence
from ..common import restart
from ..common.clock import utc_now
from ..common.counted import counted
from ..common.difference import Difference, SchemaDifference
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..common.evidence_rows import DigestDocument, LargeObjects, MatviewDocument, SequenceBounds, SequenceValue
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
from ..postgres.identifiers import shown_as_sql
from ..postgres.relations import Table, list_tables
from ..postgres.session import Session, server_identity
from ..record.dumped import dumped_archive
from ..record.promoted import already_promoted
from ..record.restored import counts_when_digested
from ..record.results import CountedTables, RestoreResult, VerifyResult
from ..record.verified import VERIFIED, changed_since, remember_verified, verified
from ..schema.differences import EXTRA, MISSING, sentence
from .parameters import Fingerprint, Known, Options, Parameters
from .schema import SchemaComparison, compare_schema

SHOWN = 50
SHOWN_CHARACTERS = 4000


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
    """Whether this database was verified against this archive, and nothing was changed in it until its promotion.

    known: what ``examine`` found. After the promotion couch2pg writes to the database, and the verification stays valid.
    """
    if recount or (result.get("oid"), result.get("manifest_sha256")) != (known["oid"], known["manifest_sha256"]):
        return False
    if already_promoted(settings, state, settings.database) is not None:
        return True
    stored = verified(state, known["identity"], known["oid"])
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
        differences = compare_tables(evidence["tables"], found)
        differences += compare_large_objects(evidence["large_objects"], large_objects.digest(session))
        lacking, left_to_do = extension_rows.compare(session, evidence.get("extension_rows") or ())
        differences += [
            _difference(row["table"], "lacks rows of the source", row["expected"], row["found"]) for row in lacking
        ]
        differences += compare_sequences(evidence["sequences"], sequence_values(session))
        refreshed = matviews(session)
        differences += compare_populated(evidence["matviews"], refreshed)
        information = schema.information + _information(
            evidence, refreshed, extension_versions.installed_versions(session)
        )
        version, size = server(session)["version"], database_size(session, settings.database)
    remaining, accepted = schema.accepting(parameters["accept_differences"])
    raise_if_different(settings.database, differences, remaining)
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
        "accepted": [_shown(difference) for difference in accepted],
        "matviews": len(refreshed),
        "sequences": len(evidence["sequences"]),
        "information": information,
        "notices": _notices(evidence["matviews"], refreshed) + left_to_do,
        "seconds": round(time.monotonic() - started, 1),
    }


def raise_if_different(database: str, rows: list[Difference], schema: list[SchemaDifference]) -> None:
    """Raise MigrationError ``not_the_same`` if there is a difference."""
    differences = [*rows, *schema]
    if not differences:
        return
    words = "; ".join(sentence(difference) for difference in differences[:3])
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    remedy = _remedy(database, rows)
    if not rows and len(schema) <= SHOWN:
        names = json.dumps([difference["name"] for difference in schema], ensure_ascii=False)
        remedy += (
            ". To keep the target as it is, accept each difference by its name, which ends with a code for what differs: set "
            f"couch2pg_accept_differences: {names}"
        )
    raise MigrationError(
        f"The restored database {database!r} differs from the source: {words}{more}. It was not promoted. "
        f"The report lists {'all differences' if len(differences) <= SHOWN else 'the first ' + counted(SHOWN, 'difference')}. {remedy}",
        "not_the_same",
        count=len(differences),
        differences=[_shown(difference) for difference in differences[:SHOWN]],
    )


def _remedy(database: str, rows: list[Difference]) -> str:
    """What to do about the differences; the last part of a message."""
    of_rows = [found for found in rows if found["kind"] in ("rows", "large objects")]
    if not of_rows:
        return f"Fix the cause on the target, then run again. After a change on the source, dump again: {restart.command('dump')}"
    extra = [shown_as_sql(found["object"]) for found in of_rows if found["problem"] == EXTRA]
    if len(extra) == len(of_rows) <= SHOWN:
        # Nothing that the source has is missing.
        these = "this table" if len(extra) == 1 else "these tables"
        return (
            f"Find out what created {these}. If nothing needs the rows, run on the target, in {database!r}: "
            f"DROP TABLE {', '.join(extra)}; Then run the same command again."
        )
    # Whatever happened to the rows on the target, the archive or the source still has them.
    return (
        "End what writes to the database on the target, if anything does, and load all rows again: "
        f"{restart.command('restore')}"
    )


def _shown(difference: Difference) -> Difference:
    """A difference for results. Its texts are shortened, because it may be between two large functions."""
    found = difference.copy()
    found["source"], found["target"] = _shortened(difference["source"]), _shortened(difference["target"])
    return found


def _shortened(side: object) -> object:
    return side[:SHOWN_CHARACTERS] if isinstance(side, str) else side


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


def compare_tables(source: Sequence[DigestDocument], target: Sequence[DigestDocument]) -> list[Difference]:
    """Tables whose rows or digest differ, or that only one side has.

    Partitions between which rows may move (``relations.Table.tree``) are compared as one table.
    """
    trees = {row["table"]: row["tree"] for row in source if row.get("tree")}
    ours, theirs = _by_table(source, trees), _by_table(target, trees)
    differences = []
    for name in sorted(set(ours) | set(theirs)):
        expected, found = ours.get(name), theirs.get(name)
        if expected is None or found is None:
            problem = MISSING if found is None else EXTRA
            differences.append(_difference(name, problem, expected and expected["rows"], found and found["rows"]))
        elif expected["rows"] != found["rows"]:
            differences.append(_difference(name, "has a different number of rows", expected["rows"], found["rows"]))
        elif expected["digest"] != found["digest"]:
            differences.append(_difference(name, "has different content", expected["digest"], found["digest"]))
    return differences


def _by_table(rows: Sequence[DigestDocument], trees: dict[str, str]) -> dict[str, DigestDocument]:
    found = {row["table"]: row for row in rows if row["table"] not in trees}
    for tree in set(trees.values()):
        parts = [row for row in rows if trees.get(row["table"]) == tree]
        if parts:
            found[tree] = {
                "table": tree,
                "rows": sum(row["rows"] for row in parts),
                "digest": digest.together([row["digest"] for row in parts]),
            }
    return found


def _difference(name: str, problem: str, source: object, target: object, kind: str = "rows") -> Difference:
    return {"kind": kind, "object": name, "problem": problem, "source": source, "target": target}


def compare_large_objects(source: LargeObjects, target: LargeObjects) -> list[Difference]:
    """The difference in number or content, if there is one."""
    if source == target:
        return []
    if source["count"] != target["count"]:
        return [_difference("the number", "differs", source["count"], target["count"], "large objects")]
    return [_difference("the content", "differs", source["digest"], target["digest"], "large objects")]


def compare_sequences(source: Mapping[str, SequenceBounds], target: Mapping[str, SequenceValue]) -> list[Difference]:
    """Sequences whose value is not between the source's values before and after the dump."""
    differences = []
    for name, bounds in sorted(source.items()):
        found = target.get(name)
        if found is None:
            continue
        forward = found["increment"] > 0
        low, high = bounds["before"], bounds.get("after", bounds["before"])
        first, position, last = (_position(value, forward) for value in (low, found, high))
        # A sequence that cycles may have started over between the two values.
        within = first <= position <= last if first <= last else position >= first or position <= last
        if not within:
            values = [value["last_value"] for value in (low, high)]
            text = f"{values[0]} to {values[1]}"
            differences.append(
                _difference(name, "is outside of the source's range", text, found["last_value"], "sequence value")
            )
    return differences


def _position(value: SequenceValue, forward: bool) -> tuple[int, bool]:
    return (value["last_value"] if forward else -value["last_value"], value["is_called"])


def compare_populated(source: list[MatviewDocument], target: list[MatviewDocument]) -> list[Difference]:
    """Matviews that hold data on the source and none on the target."""
    populated = {row["matview"]: row["populated"] for row in target}
    return [
        _difference(row["matview"], "is not populated", "populated", "not populated", "matview")
        for row in source
        if row["populated"] and not populated.get(row["matview"], True)
    ]


def _notices(source: list[MatviewDocument], target: list[MatviewDocument]) -> list[str]:
    """Sentences about materialized views without rows on the target: dashboards would be empty."""
    rows = {row["matview"]: row["rows"] for row in target}
    empty = [row["matview"] for row in target if not row["populated"]]
    return [
        f"The materialized view {row['matview']} has {counted(row['rows'], 'row')} on the source and none on the target. Check its query "
        "there."
        for row in source
        if row["rows"] and rows.get(row["matview"]) == 0
    ] + [
        f"The materialized view {row['matview']} has no data, as on the source: its refresh fails. couch2pg's refresh_matviews() "
        "fails on such a view in schema public. After the promotion, correct what it reads and refresh it (REFRESH MATERIALIZED VIEW "
        f"{shown_as_sql(row['matview'])};), or drop it (DROP MATERIALIZED VIEW {shown_as_sql(row['matview'])};)."
        for row in source
        if not row["populated"] and row["matview"] in empty
    ]


def _information(evidence: Evidence, refreshed: list[MatviewDocument], extensions: dict[str, str]) -> list[Difference]:
    """Differences that are no fault: the source's matviews are as old as its last refresh."""
    rows = {row["matview"]: row["rows"] for row in refreshed}
    information = [
        _difference(row["matview"], "has a different number of rows", row["rows"], rows.get(row["matview"]), "matview")
        for row in evidence["matviews"]
        if row["rows"] is not None and row["rows"] != rows.get(row["matview"])
    ]
    information += [
        _difference(name, "has a different version", version, extensions[name], "extension")
        for name, version in evidence["extensions"].items()
        if name in extensions and extensions[name] != version
    ]
    return information
