# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts that preflight collects on the source, for the checks on the target."""

from __future__ import annotations

from typing import TypedDict

from ..common.evidence_document import DatabaseProperties, Role, ServerProperties
from ..physical.conditions import PhysicalFacts
from ..postgres.catalog_use import CatalogColumn
from ..postgres.collations import Sorting
from ..postgres.search_path_checks import HazardDocument
from .sizes import NeedDocument, Sizes


class SchemaPublic(TypedDict):
    """Rights on schema public. creators: roles that may create in it; role: couch2pg's; may: whether that one may."""

    owner: str
    creators: list[str]
    role: str
    may: bool


class SuperuserObject(TypedDict):
    """An object that only a superuser can create or own, such as ``event trigger NAME``."""

    object: str
    owner: str


class SourceFacts(TypedDict, total=False):
    """A key is missing if its check failed.

    dropped: cleanup has dropped the database of this finished migration; then this is the only fact. physical: with that method only.
    running_server: identifies the running server. roles, owners, acted_for: as in ``postgres.role_plan``.
    extensions: versions; extension_schemas: schemas; both by name.
    reading: bytes of text in a second, as in ``pace``. named_roles: those that values of type regrole name.
    of_superusers: what belongs to each role that is a superuser, as ``role_transfer.owned``; defaults_of_superusers: the statements that
    remove its default privileges.
    forced_row_security, xml_columns, matviews: names.
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
    hazards: list[HazardDocument]
    forced_row_security: list[str]
    public: SchemaPublic
    xml_columns: list[str]
    catalog_columns: list[CatalogColumn]
    sorting: Sorting
    preload_libraries: list[str] | None  # None: the login may not read the setting.
    physical: PhysicalFacts
    superuser_objects: list[SuperuserObject]
