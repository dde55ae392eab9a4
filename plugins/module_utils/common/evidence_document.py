# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of an archive's ``evidence.json``."""

from __future__ import annotations

from typing import TypedDict

from .evidence_rows import (
    CouchdbProgress,
    ExtensionTable,
    IndexDocument,
    LargeObjects,
    MatviewDocument,
    SequenceBounds,
    TableDocument,
)


class DumpOptions(TypedDict, total=False):
    """How the archive was written.

    written: number and bytes of the files that pg_dump wrote; method: ``stream`` for the method of that name.
    """

    format: str
    compression: str
    pg_dump_major: int
    seconds: float
    written: dict[str, int]
    method: str


class ServerProperties(TypedDict):
    """A server, and the privileges of the role that asked. identity: as in ``postgres.session.server_identity``; place: its address."""

    version: str
    standby: bool
    superuser: bool
    create_database: bool
    create_role: bool
    version_number: int
    major: int
    identity: str
    place: str
    user: str


class Role(TypedDict):
    """The attributes of a role, as in pg_roles, without its password. settings: ``name=value``; member_of: names of its groups.

    admin_of: the groups that it may grant to others; missing in evidence of earlier versions.
    member_options: ``INHERIT TRUE, SET FALSE`` for each group, of a server from PostgreSQL 16 on; missing in evidence of earlier versions.
    parameters: pairs of ``SET ON PARAMETER work_mem`` and `` WITH GRANT OPTION`` or "", of a server from PostgreSQL 15 on.
    """

    name: str
    superuser: bool
    inherit: bool
    create_role: bool
    create_database: bool
    login: bool
    replication: bool
    bypass_row_security: bool
    connection_limit: int
    valid_until: str | None
    settings: list[str] | None
    member_of: list[str]
    admin_of: list[str]
    member_options: dict[str, str] | None
    parameters: list[list[str]]


class DatabaseProperties(TypedDict, total=False):
    """The properties of a database, as in pg_database.

    grants: texts of ``privileges.grants``; settings: ``name=value``; role_settings: settings for this database, by role.
    locale_provider: ``c`` (libc), ``i`` (ICU) or ``b`` (builtin); locale_rules: additional rules of ICU (ICU_RULES).
    bytes: its size, in the evidence only.
    """

    oid: int
    name: str
    owner: str
    encoding: str
    lc_collate: str
    lc_ctype: str
    locale_provider: str
    locale: str | None
    locale_rules: str | None
    collation_version: str | None
    connection_limit: int
    is_template: bool
    allow_connections: bool
    comment: str | None
    grants: list[str]
    settings: list[str] | None
    role_settings: dict[str, list[str]] | None
    bytes: int


class ObjectProperties(TypedDict, total=False):
    """Properties of an object in a database, only those that its kind has.

    grants: texts of ``privileges.grants``, None for default privileges that grant nothing; columns: of a table, in their order.
    roles: of a policy or user mapping, None for everybody's mapping; schema: of an extension. comment, labels: of a large object.
    """

    owner: str
    grants: list[str] | None
    columns: list[str]
    roles: list[str] | None
    schema: str
    comment: str | None
    labels: str | None


class PropertiesAtPromotion(TypedDict):
    """Properties that the target's database gets when it is promoted, not when it is created."""

    connection_limit: int
    settings: list[str]
    role_settings: dict[str, list[str]]


class Compression(TypedDict):
    """The source's default compression, and the columns that use it, by table (``schema.name``).

    keys: columns whose values may be keys of an index; others: columns whose values can't.
    """

    default: str
    keys: dict[str, list[str]]
    others: dict[str, list[str]]


class Evidence(TypedDict, total=False):
    """What one snapshot of the source contains. Sizes are in bytes, ``taken_at`` is a time of ``clock.utc_now``.

    server, database: results of ``postgres.database``, the database with its ``bytes``.
    roles: the roles that the database needs; extensions: the version of each extension.
    objects: properties of objects by kind and identity, from ``postgres.objects``.
    objects_left_out, left_out: objects and tables that are not copied, each with a reason.
    sequences: by name.
    compression: of columns, missing in evidence of earlier versions, as ``public_has_comment`` and ``extension_rows`` are.
    unprinted: for the method physical, ``postgres.unprinted.fingerprints`` of the source.
    """

    format: int
    migration_id: str
    taken_at: str
    snapshot: str
    server: ServerProperties
    database: DatabaseProperties
    roles: list[Role]
    extensions: dict[str, str]
    objects: dict[str, dict[str, ObjectProperties]]
    objects_left_out: list[dict[str, str]]
    everybody_creates_in_public: bool
    public_has_comment: bool
    left_out: list[dict[str, str]]
    extension_rows: list[ExtensionTable]
    sequences: dict[str, SequenceBounds]
    matviews: list[MatviewDocument]
    compression: Compression
    unprinted: dict[str, str]
    indexes: list[IndexDocument]
    large_objects: LargeObjects
    couchdb_progress: list[CouchdbProgress]
    digest_method: str
    tables: list[TableDocument]
    dump: DumpOptions
