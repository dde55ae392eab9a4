# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the roles that a database needs on the target: which to create, rename or revoke, and which attributes they lack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import AbstractSet, Any, Iterable, Mapping

from ..common.errors import MigrationError
from ..common.evidence_document import DatabaseProperties, Role
from .database import roles
from .identifiers import check_length, literal, quote
from .objects import Objects, roles_named
from .privileges import grantee
from .role_mapping import Moves
from .session import Session
from .session_settings import PARAMETER_PRIVILEGES_SINCE, set_clause

# Members of groups, if the members themselves are not among the roles that the database needs. Without the current user: an administrator
# may have become a member only to read everything.
_MEMBERS = """
SELECT g.rolname AS group, m.rolname AS member FROM pg_catalog.pg_auth_members AS a
JOIN pg_catalog.pg_roles AS g ON g.oid = a.roleid JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
WHERE g.rolname = ANY(%s) AND m.rolname <> ALL(%s) AND m.rolname <> current_user ORDER BY 1, 2
"""


MEMBER_OPTIONS_SINCE = 160000
ATTRIBUTES = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")


@dataclass(frozen=True)
class RolePlan:
    """The changes of roles on the target.

    make: missing roles to create, without login; those in ``temporary`` are dropped when the restore is done.
    moves: the new name of each renamed role; None for each role whose grants are revoked.
    """

    make: list[Role] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)
    moves: dict[str, str | None] = field(default_factory=dict)

    @property
    def kept(self) -> list[str]:
        """Names of the created roles that are not dropped later."""
        return sorted(role["name"] for role in self.make if role["name"] not in self.temporary)

    @property
    def revoked(self) -> list[str]:
        """Names of the roles whose grants are revoked."""
        return sorted(old for old, new in self.moves.items() if new is None)


def needed(session: Session, objects: Objects, properties: DatabaseProperties) -> list[Role]:
    """Every role that owns something, has grants or settings, and all groups of these roles."""
    names = roles_named(session, objects) | {properties["owner"]} | {grantee(text) for text in properties["grants"]}
    names |= set(properties["role_settings"] or {})
    found: dict[str, Role] = {}
    wanted = _own(names)
    while wanted:
        found.update({role["name"]: role for role in roles(session, wanted)})
        wanted = _own(group for role in found.values() for group in role["member_of"]) - set(found)
    return [role for _name, role in sorted(found.items())]


def _own(names: Iterable[str]) -> set[str]:
    """``names`` without PUBLIC and predefined roles, which every server has."""
    return {name for name in names if not name.startswith("pg_")} - {"PUBLIC"}


def members(session: Session, names: Iterable[str]) -> dict[str, list[str]]:
    """Members of the roles in ``names`` that are not in ``names`` themselves, by group."""
    listed = sorted(names)
    found: dict[str, list[str]] = {}
    for row in session.rows(_MEMBERS, [listed, listed]):
        found.setdefault(row["group"], []).append(row["member"])
    return found


def owners(objects: Objects, properties: DatabaseProperties | None = None) -> set[str]:
    """Roles that own the database or an object in it."""
    found = {entry["owner"] for kind in objects.values() for entry in kind.values() if entry.get("owner")}
    return _own(found | ({properties["owner"]} if properties else set()))


def acted_for(objects: Objects, properties: DatabaseProperties | None = None) -> set[str]:
    """Roles that the restoring user must be a member of: owners, and roles with default privileges."""
    return owners(objects, properties) | _own(identity.rsplit(" ", 2)[0] for identity in objects["default_privileges"])


def plan(
    session: Session,
    wanted: list[Role],
    owning: set[str],
    policy: str,
    role_map: Mapping[str, str],
    temporary: AbstractSet[str] = frozenset(),
) -> RolePlan:
    """Plan the role changes on the target, where ``session`` is connected; changes nothing.

    wanted: the roles that the database needs; owning: those that own something.
    policy: what to do with missing roles: ``create``, ``revoke`` or ``fail``.
    temporary: roles that an earlier attempt of the restore created.
    Raises MigrationError ``role_map`` for an invalid map, ``role_missing`` when roles can't be created.
    """
    by_name = {role["name"]: role for role in wanted}
    _check_map(role_map, by_name)
    there = {role["name"] for role in roles(session, set(by_name) | set(role_map.values()))} - temporary
    moves: dict[str, str | None] = {old: new for old, new in role_map.items() if old in by_name}
    missing = [name for name in sorted(by_name) if name not in there]
    unmapped = [name for name in missing if name not in moves]
    if policy == "revoke":
        moves.update({name: None for name in unmapped if name not in owning})
    new = {name: by_name[old] for old, name in role_map.items() if old in by_name and name not in there}
    if missing or new:
        unwanted = unmapped + sorted(name for name in new if name not in unmapped)
        check_may_create(session, unwanted if policy == "fail" else missing, policy if unwanted else "create")
    make = [by_name[name] for name in missing] + [
        _renamed(role, name) for name, role in sorted(new.items()) if name not in missing
    ]
    return RolePlan(make, [name for name in missing if name in moves], moves)


def _renamed(role: Role, name: str) -> Role:
    renamed = role.copy()
    renamed["name"] = name
    return renamed


def _check_map(role_map: Mapping[str, str], by_name: Mapping[str, Any]) -> None:
    for old, new in role_map.items():
        check_length(str(new))
        if not new or str(new).startswith("pg_") or new == old:
            raise MigrationError(
                f"couch2pg_role_map renames {old!r} to {new!r}, which is not possible. Choose another name.", "role_map"
            )
        if old not in by_name:
            known = ", ".join(sorted(by_name))
            raise MigrationError(
                f"couch2pg_role_map contains {old!r}, but the source's database needs no such role. It needs: {known}.",
                "role_map",
            )
        if new in role_map:
            raise MigrationError(
                f"couch2pg_role_map renames {old!r} to {new!r}, which it renames as well. Choose a name that the map doesn't rename.",
                "role_map",
            )


def check_may_create(session: Session, names: list[str], policy: str) -> None:
    """Raise MigrationError ``role_missing`` when ``policy`` is ``fail``, or the session's role may not create roles."""
    may = session.value("SELECT rolcreaterole OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")
    if policy == "fail" or not may:
        why = "couch2pg_missing_roles is 'fail'" if policy == "fail" else f"{session.settings.user!r} may not create it"
        shown = ", ".join(repr(name) for name in names)
        create = "; ".join(f"CREATE ROLE {quote(name)}" for name in names)
        other = "set couch2pg_missing_roles to create" if policy == "fail" else "set couch2pg_login_user to a superuser"
        raise MigrationError(
            f"The target lacks the role {shown}, and {why}. Create it there ({create}), or {other}.",
            "role_missing",
            roles=names,
        )


def make(session: Session, planned: RolePlan, acted: AbstractSet[str]) -> None:
    """Create the planned roles without login: an administrator gives them passwords and LOGIN later.

    acted: roles that the restoring user must be a member of; creating a role doesn't make its creator a full member.
    """
    before = {role["name"] for role in roles(session, {role["name"] for role in planned.make})}
    for role in planned.make:
        if role["name"] in before:
            continue
        inherit = "INHERIT" if role["inherit"] else "NOINHERIT"
        session.execute(f"CREATE ROLE {quote(role['name'])} NOLOGIN {inherit}")
    groups = {_name(group, planned.moves) for role in planned.make for group in role["member_of"]} - {None}
    there = {found["name"] for found in roles(session, {group for group in groups if group is not None})}
    for role in planned.make:
        for group in role["member_of"]:
            name = _name(group, planned.moves)
            if name in there and role["name"] not in planned.temporary:
                session.execute(grant_statement(session.version, role, group, str(name), role["name"]))
    if not session.value("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"):
        for name in made_of(planned, acted):
            session.execute(f"GRANT {quote(name)} TO CURRENT_USER")


def grant_statement(version: int, role: Role, group: str, group_here: str, role_here: str) -> str:
    """SQL that makes a role a member of a group as on the source. group_here, role_here: names on this server; version: of this server."""
    administers = group in (role.get("admin_of") or [])
    options = (role.get("member_options") or {}).get(group, "")
    if options and version >= MEMBER_OPTIONS_SINCE:
        option = f" WITH ADMIN {str(administers).upper()}, {options}"
    else:
        option = " WITH ADMIN OPTION" if administers else ""
    return f"GRANT {quote(group_here)} TO {quote(role_here)}{option}"


def made_of(planned: RolePlan, names: AbstractSet[str]) -> list[str]:
    """The created roles that are in ``names`` or replace a role in ``names``."""
    names = names | {new for name in names if (new := _name(name, planned.moves))}
    return sorted(role["name"] for role in planned.make if role["name"] in names)


def _name(name: str, moves: Moves) -> str | None:
    return moves.get(name, name)


def lacking(session: Session, wanted: list[Role], planned: RolePlan) -> list[str]:
    """SQL statements that give the target's roles the attributes and memberships that they have on the source and lack here."""
    there = {
        role["name"]: role for role in roles(session, {_name(role["name"], planned.moves) or "" for role in wanted})
    }
    found = []
    for role in wanted:
        name = _name(role["name"], planned.moves)
        if name is None:
            continue
        other = there.get(name)
        if other is not None:
            found += _memberships(session.version, role, other, planned.moves)
            if role["login"] and not other["login"]:
                found.append(f"ALTER ROLE {quote(name)} LOGIN")
        given = attributes(other) if other is not None else set()
        if other is None or not other["superuser"]:
            found += [f"ALTER ROLE {quote(name)} {word}" for word in ATTRIBUTES if word in attributes(role) - given]
        limit = role["connection_limit"]
        if limit != -1 and (other is None or other["connection_limit"] != limit):
            found.append(f"ALTER ROLE {quote(name)} CONNECTION LIMIT {limit}")
        expires = role["valid_until"]
        if expires not in (None, "infinity") and (other is None or other["valid_until"] != expires):
            found.append(f"ALTER ROLE {quote(name)} VALID UNTIL {literal(str(expires))}")
        if session.version >= PARAMETER_PRIVILEGES_SINCE:
            held = other["parameters"] if other is not None else []
            missing = [pair for pair in role.get("parameters") or [] if pair not in held]
            found += [f"GRANT {granted} TO {quote(name)}{option}" for granted, option in missing]
        settings = [
            setting for setting in role["settings"] or [] if other is None or setting not in (other["settings"] or [])
        ]
        found += [f"ALTER ROLE {quote(name)} {set_clause(setting)}" for setting in settings]
    return found


def _memberships(version: int, role: Role, other: Role, moves: Moves) -> list[str]:
    """SQL that gives the target's role ``other`` the memberships that ``role`` has on the source. version: of the target's server."""
    found = []
    for old in role["member_of"]:
        group, administers = _name(old, moves), old in (role.get("admin_of") or [])
        if group and group not in other["admin_of" if administers else "member_of"]:
            found.append(grant_statement(version, role, old, group, other["name"]))
    return found


def attributes(role: Role) -> set[str]:
    """The privileged attributes of the role, as keywords of ALTER ROLE."""
    values = (
        role["superuser"],
        role["create_database"],
        role["create_role"],
        role["replication"],
        role["bypass_row_security"],
    )
    return {word for word, value in zip(ATTRIBUTES, values) if value}
