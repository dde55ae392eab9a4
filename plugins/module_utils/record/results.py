# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of the phases from dump to verify: what their jobs return, and what the record keeps of them.

Times are those of ``clock.utc_now``, durations are in seconds. A record of an earlier version may lack keys.
"""

from __future__ import annotations

from typing import Mapping, Sequence, TypedDict

from ..common.difference import Difference
from ..common.evidence_document import DatabaseProperties, PropertiesAtPromotion
from ..common.evidence_rows import ArchivedFile, CouchdbProgress, DigestDocument, MatviewDocument, TableDocument


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


class Choices(TypedDict):
    """Options that can't change between attempts of a restore, because the database was created with them."""

    role_map: dict[str, str]
    missing_roles: str
    tablespaces: str
    extension_versions: dict[str, str]


class CreatedProperties(TypedDict, total=False):
    """Of a new database: the properties that it has; those that an empty database before it changed, a phrase each; those to come."""

    properties: DatabaseProperties
    properties_differ: list[str]
    at_promotion: PropertiesAtPromotion


class Copied(TypedDict):
    """What every method says about the database that it made.

    oid, server_identity: of the database ``incoming``; manifest_sha256: of the archive or, without one, of its evidence.
    created_roles: those that can't log in yet; moved_roles: the new name of each role that has another one on the target, None where its
    grants were revoked; settings_left_out: ``name=value`` that the target's server refused. tables: their digests, ``rows`` in all.
    section_seconds: by the name of the section.
    """

    incoming: str
    database: str
    oid: int
    server_identity: str
    manifest_sha256: str
    created_roles: list[str]
    moved_roles: dict[str, str | None]
    settings_left_out: list[str]
    tables: list[DigestDocument]
    rows: int
    seconds: float
    section_seconds: dict[str, float]


class RestoreResult(Copied, CreatedProperties, total=False):
    """The result of a restore. Only a restore of an archive has the keys of this class; the method physical has none of them.

    function_settings: ``name=value`` by function; function_search_path: as the option of that name. resumed_after: sections that an
    earlier attempt had completed. harmless_messages: of pg_restore (``archive.messages.Message``). digested_at: when tables were read.
    resumed_chunks: with the method stream, the pieces of tables that an earlier attempt had copied.
    """

    choices: Choices
    function_settings: dict[str, list[str]]
    function_search_path: dict[str, str]
    resumed_after: list[str]
    harmless_messages: Sequence[Mapping[str, object]]
    digested_at: str
    resumed_chunks: int


class StreamResult(RestoreResult):
    """The result of the method stream. archive: the folder of its evidence; dump: the result of the phase dump."""

    archive: str
    dump: DumpResult


class RefreshFunction(TypedDict):
    """The call of ``refresh_matviews()``: its name with schema, the role that called it, whether it was called on empty tables only."""

    name: str
    role: str
    without_rows: bool
    seconds: float


class RefreshOutcome(TypedDict, total=False):
    """A materialized view after its refresh: its number of rows, or the error with its SQLSTATE, context and an advice.

    done_before: an earlier attempt refreshed it, so that it was only analyzed and counted.
    """

    matview: str
    rows: int | None
    error: str | None
    sqlstate: str | None
    context: str | None
    advice: str | None
    done_before: bool
    seconds: float


class RefreshResult(TypedDict):
    """The result of refresh. not_populated: views without data on the source, whose refresh fails; function: None without one."""

    oid: int
    matviews: list[RefreshOutcome]
    not_populated: list[RefreshOutcome]
    function: RefreshFunction | None
    seconds: float


class CountedTables(TypedDict):
    """The target's tables as verify compared them: ``counted`` is ``while restoring`` or ``now``, ``counted_at`` the time.

    counted_again: the tables that something wrote to since the restore digested them.
    """

    digests: list[DigestDocument]
    counted: str
    counted_at: str
    counted_again: list[str]


class VerifyResult(CountedTables):
    """The result of verify. tables, matviews, sequences: how many; objects: how many of each kind; database_bytes: on the target.

    accepted: differences that the operator accepted; information: those that are no fault; notices: sentences for the operator.
    """

    oid: int
    manifest_sha256: str
    database: str
    verified_at: str
    digest_method: str
    server_version: str
    database_bytes: int
    tables: int
    rows: int
    objects: dict[str, int]
    accepted: list[Difference]
    matviews: int
    sequences: int
    information: list[Difference]
    notices: list[str]
    seconds: float
