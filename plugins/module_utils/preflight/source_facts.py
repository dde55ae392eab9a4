# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts that preflight collects on the source, for the checks on the target."""

from __future__ import annotations

from typing import Any, TypedDict

from ..archive.size import ArchiveEstimate
from ..common.evidence_document import DatabaseProperties, Role, ServerProperties


class Sizes(TypedDict, total=False):
    """Sizes of the source's database in bytes.

    server: all databases that may be measured; relations, table_count: numbers; largest_indexes: the 16 largest, descending;
    tablespaces: by name.
    machine: ``host.file_systems.machine``.
    """

    database: int
    server: int
    matviews: int
    largest_matview: int
    relations: int
    large_objects: int
    tables: int
    table_count: int
    indexes: int
    largest_indexes: list[int]
    tablespaces: dict[str, int]
    archive: ArchiveEstimate
    machine: str


class NeedDocument(TypedDict):
    """A ``disk_plan.Need`` as JSON."""

    path: str
    use: str
    bytes: int
    files: int
    present: int


class SourceFacts(TypedDict, total=False):
    """A key is missing if its check failed.

    dropped: cleanup has dropped the database of this finished migration; then this is the only fact.
    physical: ``physical.conditions.facts_of``, with that method.
    running_server: identifies the running server.
    roles, owners, acted_for: as in ``postgres.role_plan``.
    extensions: versions; extension_schemas: schemas; both by name.
    hazards: ``search_path_checks.Hazard.as_dict``; catalog_columns: ``catalog_use.read``; sorting: ``collations.used``.
    public: owner and creators of schema public, and whether couch2pg's role may create in it.
    reading: bytes of text in a second, as in ``pace``. named_roles: those that values of type regrole name.
    of_superusers: what belongs to each role that is a superuser, as ``role_transfer.owned``; defaults_of_superusers: the statements that
    remove its default privileges.
    superuser_objects: ``{object, owner}``; forced_row_security, xml_columns, matviews: names.
    """

    server: ServerProperties
    running_server: str
    dropped: bool
    pg_dump_major: int
    compression: str
    database: DatabaseProperties
    extensions: dict[str, str]
    extension_schemas: dict[str, str]
    sizes: Sizes
    reading: int
    needs: list[NeedDocument]
    roles: list[Role]
    owners: list[str]
    acted_for: list[str]
    of_superusers: dict[str, list[str]]
    defaults_of_superusers: dict[str, list[str]]
    named_roles: list[str]
    matviews: list[str]
    hazards: list[dict[str, Any]]
    forced_row_security: list[str]
    public: dict[str, Any]
    xml_columns: list[str]
    catalog_columns: list[dict[str, Any]]
    sorting: dict[str, Any]
    preload_libraries: list[str] | None  # None: the login may not read the setting.
    physical: dict[str, Any]
    superuser_objects: list[dict[str, Any]]
