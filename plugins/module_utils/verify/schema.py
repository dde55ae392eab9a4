# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of the restored database, compared with the schema of the archive and with the facts of the source."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping

from ..common.difference import Difference, SchemaDifference
from ..common.evidence_document import Evidence
from ..common.parallel import run_together
from ..host.programs import Program
from ..postgres.connection import ConnectionSettings
from ..postgres.database import existing_database, roles
from ..postgres.objects import comparable_identity, large_objects, left_out
from ..postgres.session import Session
from ..postgres.unprinted import Unprinted, fingerprints, read_unprinted
from ..record.results import RestoreResult
from ..schema.differences import compare, compare_unprinted
from ..schema.expected import expected_schema, printed_after_a_dump
from ..schema.printed import Printed, print_schema
from ..schema.restore import Changes
from . import facts


@dataclass(frozen=True)
class SchemaComparison:
    """differences: what is wrong. information: what is no fault. objects: number of objects of each kind."""

    differences: list[SchemaDifference]
    information: list[Difference]
    objects: dict[str, int]

    def accepting(self, names: Iterable[str]) -> tuple[list[SchemaDifference], list[SchemaDifference]]:
        """The differences that remain, and those that ``names`` accept."""
        accepted = set(names)
        remaining = [found for found in self.differences if found["name"] not in accepted]
        return remaining, [found for found in self.differences if found["name"] in accepted]


def compare_schema(
    settings: ConnectionSettings,
    migration_id: str,
    root: Path,
    evidence: Evidence,
    restored: RestoreResult | None,
    programs: tuple[Program, Program],
    work: Path,
    stop: threading.Event,
    one_by_one: bool,
) -> SchemaComparison:
    """Compare everything except rows.

    restored: the result of the restore that made this database; None when another program restored it.
    programs: pg_restore and pg_dump. work: a private folder. one_by_one: use one session of the server at a time.
    """
    changes = Changes.of_restore(restored)
    printed: Printed = {}
    expected = run_together(
        lambda: printed.update(print_schema(programs[1], settings, work, stop)),
        lambda: expected_schema(settings, migration_id, root, evidence, changes, programs, work, stop),
        stop,
        one_by_one,
    )
    differences = compare(expected.printed, printed)
    if differences and evidence["dump"].get("method") == "physical":
        # A physical copy keeps the source's definitions as they are. The same definition can be printed in other words after a dump and
        # a restore, so print the copy's schema after these, too.
        again = compare(expected.printed, printed_after_a_dump(settings, migration_id, programs, work, stop))
        remain = {(found["kind"], found["object"]) for found in again}
        differences = [found for found in differences if (found["kind"], found["object"]) in remain]
    with Session(settings) as session:
        # The archive's schema in the scratch database has all extensions in the versions that the restore was told to take.
        differences += compare_with_source(evidence, expected.unprinted, read_unprinted(session))
        versions = (evidence["server"]["version_number"], session.version)
        # Large objects are rows to pg_dump: their owners and grants are not in its schema.
        shells = {comparable_identity(row["identity"]) for row in left_out(session)}
        objects = dict(expected.objects, **{"large object": large_objects(session)})
        differences += facts.compare_objects(evidence["objects"], objects, changes.moves, versions)
        properties = existing_database(session, settings.database)
        wanted = facts.expected_properties(evidence, restored)
        refused = restored.get("settings_left_out") or [] if restored else []
        differences += facts.compare_properties(wanted, properties, refused)
        names = filter(None, (changes.moves.get(role["name"], role["name"]) for role in evidence["roles"]))
        there = roles(session, set(names))
    lacking = facts.compare_memberships(evidence["roles"], there, changes.moves)
    # The restore is responsible for the memberships of the roles that it created. Other roles belong to the operator.
    created = set(restored.get("created_roles") or [] if restored else [])
    differences += [found for found in lacking if found["object"] in created]
    differences += facts.compare_created(evidence["roles"], there, changes.moves, created)
    information: list[Difference] = [found for found in lacking if found["object"] not in created]
    information += _left_out(evidence["objects_left_out"], shells)
    counts = {kind: len(entries) for kind, entries in evidence["objects"].items() if entries}
    return SchemaComparison(differences, information, counts)


def compare_with_source(
    evidence: Evidence, expected: Mapping[Unprinted, str], found: Mapping[Unprinted, str]
) -> list[SchemaDifference]:
    """Differences in objects that pg_dump doesn't print. expected: those of the scratch database, which has new extensions.

    A physical copy keeps these objects, so one that is the same as in the source's evidence is no difference. A subscription always is
    one: on the target, it would take the rows from the source's slot.
    """
    differences = compare_unprinted(expected, found)
    source, target = evidence.get("unprinted"), fingerprints(found)
    if source is None:
        return differences
    names = (f"{difference['kind']} {difference['object']}" for difference in differences)
    return [
        difference
        for difference, name in zip(differences, names)
        if difference["kind"] == "subscription" or source.get(name) != target.get(name)
    ]


def _left_out(rows: Iterable[Mapping[str, str]], there: set[str]) -> list[Difference]:
    """Objects that pg_dump leaves out by design, except those in ``there``, which another object of the archive declared on the target."""
    return [
        {
            "kind": row["kind"],
            "object": row["identity"],
            "problem": f"was not carried over: {row['reason']}",
            "source": None,
            "target": None,
        }
        for row in rows
        if comparable_identity(row["identity"]) not in there
    ]
