# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a role mapping to schema and database properties: roles renamed on the target, or their grants revoked."""

from __future__ import annotations

from typing import Iterable, Mapping, Optional

from ..common.evidence_document import DatabaseProperties, ObjectProperties
from .objects import Objects
from .privileges import GRANTABLE, grantee

# The new name of each role; None when the role's grants are revoked.
Moves = Mapping[str, Optional[str]]


def moved(objects: Objects, moves: Moves) -> Objects:
    """``objects`` as expected on the target after ``moves``."""
    if not moves:
        return objects
    found: Objects = {}
    for kind, entries in objects.items():
        found[kind] = {}
        for identity, properties in entries.items():
            after = _properties(kind, properties, moves)
            name = _identity(kind, identity, moves)
            if name is None or after is None:
                continue
            # An entry that loses its last grant to another role disappears. An entry that only revokes built-in privileges stays.
            gone = kind == "default_privileges" and _built_in(name, after["grants"] or ())
            if gone and not _built_in(identity, properties["grants"] or ()):
                continue
            found[kind][name] = after
    return found


def moved_database(properties: DatabaseProperties, moves: Moves) -> DatabaseProperties:
    """The properties of a database as expected on the target after ``moves``."""
    settings = {moves.get(role, role): value for role, value in (properties["role_settings"] or {}).items()}
    moved = properties.copy()
    moved["owner"] = moves.get(properties["owner"]) or properties["owner"]
    moved["grants"] = moved_grants(properties["grants"], moves)
    moved["role_settings"] = {role: value for role, value in settings.items() if role is not None}
    return moved


def moved_grants(texts: Iterable[str], moves: Moves) -> list[str]:
    """Privileges (texts of ``privileges.grants``) after ``moves``, without duplicates, sorted."""
    found = set()
    for text in texts:
        role = grantee(text)
        new = moves.get(role, role)
        if new is not None:
            found.add(new + text[len(role) :])
    return sorted(text for text in found if text + GRANTABLE not in found)


def _properties(kind: str, properties: ObjectProperties, moves: Moves) -> ObjectProperties | None:
    after = properties.copy()
    owner, grants, roles = properties.get("owner"), properties.get("grants"), properties.get("roles")
    if owner is not None:
        after["owner"] = moves.get(owner) or owner
    if grants is not None:
        after["grants"] = moved_grants(grants, moves)
        # PostgreSQL removes an entry that grants nothing.
        if kind == "default_privileges" and grants and not after["grants"]:
            return None
    if roles is not None:
        names = {moves.get(role, role) for role in roles}
        after["roles"] = sorted(name for name in names if name is not None)
        # A policy or user mapping without any role left is dropped with its role.
        if roles and not after["roles"]:
            return None
    return after


def _built_in(identity: str, grants: Iterable[str]) -> bool:
    """Whether ``grants`` has only privileges that apply without an entry. PostgreSQL removes an entry that becomes equal to these."""
    role, schema, what = identity.rsplit(" ", 2)
    public = {"f": "PUBLIC EXECUTE", "T": "PUBLIC USAGE"}.get(what)
    return schema == "*" and all(grantee(text) == role or text == public for text in grants)


def _identity(kind: str, identity: str, moves: Moves) -> str | None:
    if kind == "default_privileges":
        role, rest = identity.rsplit(" ", 2)[0], identity.rsplit(" ", 2)[1:]
        new = moves.get(role, role)
        return None if new is None else " ".join([new, *rest])
    if kind == "user_mappings":
        for old, new in moves.items():
            if identity.startswith(f"{old} on "):
                return None if new is None else new + identity[len(old) :]
    return identity
