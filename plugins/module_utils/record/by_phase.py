# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of the phases up to the promotion, by phase, as the record has them.

Times are those of ``clock.utc_now``, durations are in seconds. A record of an earlier version may lack keys.
"""

from __future__ import annotations

from typing import TypedDict, cast

from ..common.evidence_rows import CouchdbProgress, MatviewDocument, TableDocument
from ..common.findings import FindingDocument
from .document import Record
from .promoted import Promotion
from .results import RefreshResult, RestoreResult, VerifyResult


class Method(TypedDict):
    """The method of the migration, and why it was chosen."""

    method: str
    reason: str


class PreflightResult(TypedDict, total=False):
    """The findings on both sides."""

    source: list[FindingDocument]
    target: list[FindingDocument]
    method: Method


class ArchivedFile(TypedDict):
    """A file of the archive, relative to it."""

    path: str
    bytes: int
    sha256: str


class DumpResult(TypedDict):
    """The result of dump, and what the other methods record for it.

    archive: the folder, with ``files`` files of ``bytes`` bytes in all; file_list: the largest of them; manifest_sha256: of the manifest.
    server_version to database_bytes: of the source. rows: of all tables. left_out: tables that are not copied, each with the reason.
    """

    archive: str
    bytes: int
    files: int
    file_list: list[ArchivedFile]
    manifest_sha256: str
    seconds: float
    format: str
    compression: str
    digest_method: str
    snapshot: str
    server_version: str
    server_identity: str
    database_oid: int
    database_bytes: int
    rows: int
    tables: list[TableDocument]
    matviews: list[MatviewDocument]
    left_out: list[dict[str, str]]
    couchdb_progress: list[CouchdbProgress]


class TransferResult(TypedDict):
    """The result of transfer. way: ``direct``, ``relay`` or ``local``; resumed_bytes: of an earlier attempt; refetched: damaged files."""

    archive: str
    bytes: int
    files: int
    manifest_sha256: str
    way: str
    reason: str
    seconds: float
    received_bytes: int
    resumed_bytes: int
    refetched: list[str]


class Results(TypedDict, total=False):
    """The result of each phase that is done."""

    preflight: PreflightResult
    dump: DumpResult
    transfer: TransferResult
    restore: RestoreResult
    refresh: RefreshResult
    verify: VerifyResult
    promote: Promotion


def results(record: Record) -> Results:
    """The results in the record."""
    done = {name: entry["result"] for name, entry in record["phases"].items() if entry["status"] == "done"}
    return cast("Results", done)
