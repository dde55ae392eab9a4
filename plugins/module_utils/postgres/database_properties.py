# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties that the restored database gets: those of the source, and those of an empty database that it replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping

from ..common.evidence_document import DatabaseProperties, PropertiesAtPromotion
from .connection import ConnectionSettings
from .database import find_database, is_empty
from .identifiers import quote
from .privileges import GRANTABLE, grantee
from .role_mapping import Moves, moved_database
from .session import Session
from .session_settings import set_clause

# Settings that wait for the promotion. A read-only database couldn't be filled, and without track_counts the promotion couldn't tell
# whether rows were changed after they were verified.
SETTINGS_AT_PROMOTION = ("default_transaction_read_only", "session_replication_role", "track_counts")
NO_LIMIT = -1
_FREEZING = {f"default_transaction_read_only={value}" for value in ("on", "true", "yes", "1", "t", "y")}


@dataclass(frozen=True)
class PlannedProperties:
    """properties: as ``find_database`` returns them. merged: whether some come from an empty database on the target.

    differs: a phrase for each property that the operator chose there, and that differs from the source.
    """

    properties: DatabaseProperties
    merged: bool
    differs: list[str]


def plan_properties(
    settings: ConnectionSettings, name: str, source: DatabaseProperties, moves: Moves
) -> PlannedProperties:
    """The properties of the new database ``name``. source: properties of the source's database; moves: mapping of its roles.

    They are merged with those of an empty database of that name. One that isn't empty is renamed and keeps its own properties.
    """
    expected = moved_database(source, moves)
    with Session(settings.maintenance) as session:
        existing = find_database(session, name)
    if existing is None:
        return PlannedProperties(expected, False, [])
    with Session(settings.to(name)) as session:
        if not is_empty(session):
            return PlannedProperties(expected, False, [])
    merged = merge(expected, existing)
    return PlannedProperties(merged, True, differences(expected, merged))


def merge(source: DatabaseProperties, existing: DatabaseProperties) -> DatabaseProperties:
    """The source's properties with what the operator set in the existing empty database.

    The owner, settings, connection limit and comment of the existing database take precedence. Its grants to roles are added. Grants to
    PUBLIC come from the source only, because a new database grants CONNECT to PUBLIC by default.
    """
    public = [text for text in source["grants"] if grantee(text) == "PUBLIC"]
    named = {text for side in (source, existing) for text in side["grants"] if grantee(text) != "PUBLIC"}
    roles = {*(source["role_settings"] or {}), *(existing["role_settings"] or {})}
    merged = source.copy()
    merged["owner"] = existing["owner"]
    merged["settings"] = _merged_settings(source["settings"], existing["settings"])
    merged["role_settings"] = {
        role: _merged_settings(*((side["role_settings"] or {}).get(role) for side in (source, existing)))
        for role in sorted(roles)
    }
    if existing["connection_limit"] != NO_LIMIT:
        merged["connection_limit"] = existing["connection_limit"]
    merged["comment"] = existing["comment"] or source["comment"]
    merged["grants"] = sorted([*public, *(text for text in named if text + GRANTABLE not in named)])
    return merged


def split(properties: DatabaseProperties) -> tuple[DatabaseProperties, PropertiesAtPromotion]:
    """The properties for the creation of the database, and those for its promotion, because they would disturb the work before it."""
    now = properties.copy()
    later = PropertiesAtPromotion(connection_limit=NO_LIMIT, settings=[], role_settings={})
    # A connection limit would refuse the restore's own sessions, unless they are a superuser's.
    now["connection_limit"], later["connection_limit"] = NO_LIMIT, properties["connection_limit"]
    now["settings"], later["settings"] = _divided(properties["settings"])
    of_roles: dict[str, list[str]] = {}
    for role, settings in (properties["role_settings"] or {}).items():
        kept, disturbing = _divided(settings)
        if kept:
            of_roles[role] = kept
        if disturbing:
            later["role_settings"][role] = disturbing
    now["role_settings"] = of_roles
    return now, later


def _divided(settings: Iterable[str] | None) -> tuple[list[str], list[str]]:
    disturbing = [text for text in settings or () if text.split("=", 1)[0] in SETTINGS_AT_PROMOTION]
    return [text for text in settings or () if text not in disturbing], disturbing


def promotion_statements(name: str, later: PropertiesAtPromotion) -> list[str]:
    """SQL that gives the database ``name`` the properties that ``split`` returned for the promotion."""
    statements = [f"ALTER DATABASE {quote(name)} {set_clause(setting)}" for setting in later["settings"]]
    for role, settings in sorted(later["role_settings"].items()):
        statements += [f"ALTER ROLE {quote(role)} IN DATABASE {quote(name)} {set_clause(text)}" for text in settings]
    if later["connection_limit"] != NO_LIMIT:
        statements.append(f"ALTER DATABASE {quote(name)} CONNECTION LIMIT {int(later['connection_limit'])}")
    return statements


def thawing_statements(name: str, properties: DatabaseProperties) -> list[str]:
    """SQL that lets everybody connect to the database ``name`` and write there; empty when its properties allow that."""
    statements = []
    if _frozen(properties["settings"]):
        statements.append(f"ALTER DATABASE {quote(name)} RESET default_transaction_read_only")
    for role, settings in sorted((properties["role_settings"] or {}).items()):
        if _frozen(settings):
            statements.append(f"ALTER ROLE {quote(role)} IN DATABASE {quote(name)} RESET default_transaction_read_only")
    if properties["connection_limit"] == 0:
        statements.append(f"ALTER DATABASE {quote(name)} CONNECTION LIMIT {NO_LIMIT}")
    return statements


def _frozen(settings: Iterable[str] | None) -> bool:
    return any(text.lower() in _FREEZING for text in settings or ())


def differences(source: Mapping[str, Any], merged: Mapping[str, Any]) -> list[str]:
    """The properties in ``merged`` that differ from the source, a phrase each."""
    found = [
        f"{name.replace('_', ' ')} {merged[name]!r} (source: {source[name]!r})"
        for name in ("owner", "connection_limit", "comment")
        if merged[name] != source[name]
    ]
    found += [f"setting {text}" for text in merged["settings"] or [] if text not in (source["settings"] or [])]
    for role, settings in (merged["role_settings"] or {}).items():
        theirs = (source["role_settings"] or {}).get(role) or []
        found += [f"setting {text} of role {role}" for text in settings if text not in theirs]
    # The owner's own privileges come with the ownership.
    found += [
        f"grant {text}"
        for text in merged["grants"]
        if text not in source["grants"] and grantee(text) != merged["owner"]
    ]
    return found


def _merged_settings(source: Iterable[str] | None, existing: Iterable[str] | None) -> list[str]:
    """Settings (``name=value``) of both; those of the existing database take precedence."""
    by_name = {text.split("=", 1)[0]: text for side in (source, existing) for text in side or ()}
    return sorted(by_name.values())
