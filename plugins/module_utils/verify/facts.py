# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what the source has besides rows: its objects, the database's properties and the memberships of its roles."""

from __future__ import annotations

from typing import Any, Collection, Iterable, Iterator, Mapping

from ..common.difference import SchemaDifference
from ..common.evidence_document import DatabaseProperties, Evidence, Role
from ..postgres.identifiers import quote
from ..postgres.objects import Objects, comparable_grants, comparable_identity
from ..postgres.role_mapping import Moves, moved, moved_database
from ..postgres.role_plan import attributes
from ..record.results import RestoreResult
from ..schema.differences import difference

_EXACT = ("owner", "connection_limit", "comment", "encoding", "lc_collate", "lc_ctype", "locale_provider")


def compare_objects(source: Objects, found: Objects, moves: Moves, versions: tuple[int, int]) -> list[SchemaDifference]:
    """Objects of the source that are not in ``found``, or that have another owner or other grants there.

    found: what the archive's schema made on the target's server. versions: ``server_version_num`` of source and target.
    Objects that only ``found`` has are not compared here: the comparison of pg_dump's texts finds them.
    """
    differences = []
    for kind, entries in sorted(moved(source, moves).items()):
        there = {comparable_identity(identity): entry for identity, entry in found.get(kind, {}).items()}
        for identity, expected in sorted(entries.items()):
            actual = there.get(comparable_identity(identity))
            if actual is None:
                # A column whose grants were all revoked has no entry.
                if kind != "column" or comparable_grants(expected["grants"] or (), versions):
                    differences.append(difference(kind, identity, "is missing in the archive", None, None))
                continue
            differences += _of_object(kind, identity, expected, actual, versions)
    return differences


def _of_object(
    kind: str, identity: str, source: Mapping[str, Any], found: Mapping[str, Any], versions: tuple[int, int]
) -> Iterator[SchemaDifference]:
    # Only large objects have a comment and labels, and only in evidence of this version of the collection or a later one.
    for name in ("owner", "columns", "roles", "grants", *sorted({"comment", "labels"} & set(source))):
        ours, theirs = source.get(name), found.get(name)
        if name == "grants":
            ours, theirs = (comparable_grants(texts or (), versions) for texts in (ours, theirs))
        elif isinstance(ours, list) and isinstance(theirs, list):
            # The order of columns is no loss: pg_dump puts inherited columns first.
            ours, theirs = sorted(ours), sorted(theirs)
        if ours != theirs:
            only = _without(ours, theirs), _without(theirs, ours)
            has = "has other" if name not in ("owner", "comment") else "has another"
            yield difference(kind, identity, f"{has} {name} in the archive", *only)


def _without(some: Any, others: Any) -> Any:
    return [one for one in some if one not in others] if isinstance(some, list) and isinstance(others, list) else some


def expected_properties(evidence: Evidence, restored: RestoreResult | None) -> DatabaseProperties:
    """Properties that the restore gave the database: the source's, merged with those of an empty database that it replaces."""
    stored = restored.get("properties") if restored else None
    return stored or moved_database(evidence["database"], restored.get("moved_roles") or {} if restored else {})


def compare_properties(
    expected: DatabaseProperties, found: DatabaseProperties, left_out: Iterable[str]
) -> list[SchemaDifference]:
    """Properties of the database that are not as expected. ``left_out``: settings that the target's server refused."""
    differences = []

    def add(name: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            differences.append(difference("database", name.replace("_", " "), "differs", ours, theirs))

    source: Mapping[str, object] = expected
    target: Mapping[str, object] = found
    for name in _EXACT:
        add(name, source[name], target[name])
    # Every role that may create databases can copy a template.
    if found.get("is_template") and not expected.get("is_template"):
        add("is template", False, True)
    add("locale", _locale(expected["locale"]), _locale(found["locale"]))
    add("locale_rules", expected.get("locale_rules"), found.get("locale_rules"))
    add("grants", sorted(expected["grants"]), sorted(found["grants"]))
    refused = set(left_out)
    add("settings", _settings(expected["settings"], refused), _settings(found["settings"], refused))
    ours, theirs = expected["role_settings"] or {}, found["role_settings"] or {}
    for role in sorted(set(ours) | set(theirs)):
        settings = (_settings(side.get(role), refused) for side in (ours, theirs))
        add(f"settings of role {role}", *settings)
    return differences


def _locale(name: str | None) -> str:
    """The locale in one notation: PostgreSQL 16 and later write ICU's en_US as en-US."""
    return (name or "").replace("_", "-").lower()


def _settings(settings: Iterable[str] | None, refused: set[str]) -> list[str]:
    return sorted(setting for setting in settings or () if setting not in refused)


def compare_memberships(wanted: Iterable[Role], there: Iterable[Role], moves: Moves) -> list[SchemaDifference]:
    """Memberships of the source's roles that the target lacks, between roles that the target has.

    ``wanted`` and ``there``: roles as ``database.roles`` returns them.
    """
    groups = {role["name"]: set(role["member_of"]) for role in there}
    options = {role["name"]: role.get("member_options") or {} for role in there}
    administered = {role["name"]: set(role.get("admin_of") or ()) for role in there}
    lacking = []
    for role in wanted:
        name = moves.get(role["name"], role["name"])
        administers = {moves.get(group, group) for group in role.get("admin_of") or ()}
        # A group that the target lacks has no name here: its grants were revoked, so that there is nothing to compare.
        for group in filter(None, (moves.get(group, group) for group in role["member_of"])):
            if name in groups and group not in groups[name]:
                statement = f"GRANT {quote(group)} TO {quote(str(name))}"
                lacking.append(
                    difference("role", str(name), f"is not a member of {group} (remedy: {statement})", None, None)
                )
            elif name in administered and group in administers and group not in administered[name]:
                statement = f"GRANT {quote(group)} TO {quote(str(name))} WITH ADMIN OPTION"
                lacking.append(
                    difference("role", str(name), f"may not grant {group} (remedy: {statement})", None, None)
                )
        for old, ours in sorted((role.get("member_options") or {}).items()):
            new = moves.get(old, old)
            theirs = options.get(str(name), {}).get(new) if new else None
            if new and theirs not in (None, ours):
                statement = f"GRANT {quote(new)} TO {quote(str(name))} WITH {ours}"
                lacking.append(
                    difference(
                        "role",
                        str(name),
                        f"is a member of {new} with other options (remedy: {statement})",
                        ours,
                        theirs,
                    )
                )
    return lacking


def compare_created(
    wanted: Iterable[Role], there: Iterable[Role], moves: Moves, created: Collection[str]
) -> list[SchemaDifference]:
    """What the roles in ``created`` have that they don't have on the source. The restore, which created them, gave them nothing more."""
    source = {moves.get(role["name"], role["name"]): role for role in wanted}
    differences = []
    for role in there:
        if role["name"] not in created or role["name"] not in source:
            continue
        ours = source[role["name"]]
        name = quote(role["name"])
        groups = {moves.get(group, group) for group in ours["member_of"]}
        administered = {moves.get(group, group) for group in ours.get("admin_of") or ()}
        more = {f"ALTER ROLE {name} NO{word}": word for word in attributes(role) - attributes(ours)}
        more.update(
            {f"REVOKE {quote(group)} FROM {name}": f"member of {group}" for group in set(role["member_of"]) - groups}
        )
        more.update(
            {
                f"REVOKE ADMIN OPTION FOR {quote(group)} FROM {name}": f"administrator of {group}"
                for group in set(role["admin_of"]) & set(groups) - administered
            }
        )
        for setting in set(role["settings"] or ()) - set(ours["settings"] or ()):
            more[f"ALTER ROLE {name} RESET {quote(setting.split('=', 1)[0])}"] = setting
        differences += [
            difference("role", role["name"], f"is not on the source: {what} (remedy: {statement})", None, None)
            for statement, what in sorted(more.items())
        ]
    return differences
