# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder with the evidence of a physical copy: the schema's archive, the digests of the source, and their manifest."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Callable, Mapping

from ..archive import layout, pg_dump
from ..archive import partial as partial_archive
from ..archive.schema_dump import dump_schema
from ..common.evidence_document import Evidence
from ..common.evidence_rows import SequenceValue
from ..common.parallel import run_together
from ..evidence import digest
from ..evidence import document as evidence_document
from ..evidence.snapshot_cost import HeldSnapshotCost
from ..host import programs
from ..host.files import fsync_tree, write_json
from ..jobs.context import JobContext
from ..postgres.connection import ConnectionSettings
from ..postgres.unprinted import fingerprints, read_unprinted
from .moment import Moment
from .parameters import Parameters

# WAL has a sequence this many values ahead, and after recovery the copy may have that value.
SEQUENCE_AHEAD = 32


def begin(moment: Moment, migration_id: str, pg_dump_major: int) -> Evidence:
    """The evidence of the source at this moment, without the digests of its tables."""
    snapshot = moment.snapshot
    document = evidence_document.collect(snapshot.session, migration_id, snapshot.identifier, snapshot.tables)
    # A copy has the encoding of the source, whatever that is.
    document["database"]["encoding"] = snapshot.own_encoding
    # A copy has the members of extensions as they are on the source, not as CREATE EXTENSION makes them.
    document["unprinted"] = fingerprints(read_unprinted(snapshot.session))
    document["dump"] = {
        "method": "physical",
        "format": "directory",
        "compression": "none",
        "pg_dump_major": pg_dump_major,
        "seconds": 0.0,
    }
    return document


def archive_schema(context: JobContext, source: ConnectionSettings, moment: Moment, partial: Path) -> None:
    """Write an archive of the schema, with which verify compares the schema of the copy."""
    command = pg_dump.build(
        programs.find("pg_dump", context.given(Parameters)["bin_dir"]),
        "directory",
        partial,
        moment.snapshot.identifier,
        1,
        "none",
        source.conninfo(),
        moment.snapshot.own_encoding,
        excluded=["--schema-only"],
    )
    dump_schema(command, source, context.work, context.log)


def add_digests(
    context: JobContext,
    source: ConnectionSettings,
    moment: Moment,
    document: Evidence,
    beside: Callable[[threading.Event], None],
) -> float:
    """Digest the source's tables, with ``beside`` running at the same time; returns the seconds of the digests alone."""
    snapshot, parameters = moment.snapshot, context.given(Parameters)
    stop = threading.Event()
    tables = snapshot.tables
    held = HeldSnapshotCost(source, time.monotonic())
    context.progress.step("digests", sum(table.table_bytes for table in tables.kept), "bytes")
    context.progress.note("snapshot", held.describe)

    def on_digest(amount: int, table: str) -> None:
        context.progress.advance(amount, table)
        context.throttle.wait(amount, stop)

    def take_digests() -> tuple[list[digest.TableDigest], float]:
        started = time.monotonic()
        found = digest.digest_tables(
            tables.kept,
            parameters["digest_method"],
            parameters["jobs"],
            snapshot.reader,
            on_digest,
            stop,
            reading=snapshot.reading,
        )
        return found, time.monotonic() - started

    try:
        digests, seconds = run_together(lambda: beside(stop), take_digests, stop, one_by_one=False)
    finally:
        context.progress.note("snapshot", None)
        held.close()
    evidence_document.add_tables(document, tables, digests, parameters["digest_method"])
    return seconds


def finish(partial: Path, document: Evidence, workers: int) -> None:
    """Write evidence and manifest, which make the folder an archive for verify."""
    write_json(partial / layout.EVIDENCE, document)
    partial_archive.finish(partial, document, workers)
    fsync_tree(partial)


def ahead(values: Mapping[str, SequenceValue]) -> dict[str, SequenceValue]:
    """The last values that sequences may have after recovery, because WAL has their values some steps ahead."""
    return {
        name: {
            "last_value": value["last_value"] + SEQUENCE_AHEAD * value["increment"],
            "is_called": True,
            "increment": value["increment"],
        }
        for name, value in values.items()
    }
