# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema that a restored database must have: the archive's schema, restored alone into a scratch database.

The schema of a copy of the source's files can be printed in the same way: dumped, and restored into a scratch database.
"""

from __future__ import annotations

import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping

from ..archive import pg_dump, pg_restore
from ..archive.messages import sentence, then
from ..archive.schema_dump import dump_schema
from ..archive.scratch import scratch_database, scratch_name
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..host.programs import Program
from ..postgres import event_triggers, public_schema
from ..postgres.connection import ConnectionSettings
from ..postgres.database import existing_database, roles
from ..postgres.identifiers import literal, quote
from ..postgres.objects import Objects, read_objects
from ..postgres.public_schema import PublicSchema
from ..postgres.role_mapping import Moves
from ..postgres.session import Session
from ..postgres.unprinted import Unprinted, read_unprinted
from .printed import Printed, print_schema
from .restore import Changes, restore_schema

# The comment on a role says who made it, so that the next run drops what a killed run left.
ROLE_MARK = "cht.couch2pg: made for a scratch database, safe to drop"


@dataclass(frozen=True)
class Expected:
    """The schema of the archive after the changes: what pg_dump prints of it, what it doesn't print, and what exists in it."""

    printed: Printed
    unprinted: Mapping[Unprinted, str]
    objects: Objects


def expected_schema(
    target: ConnectionSettings,
    migration_id: str,
    root: Path,
    evidence: Evidence,
    changes: Changes,
    programs: tuple[Program, Program],
    work: Path,
    stop: threading.Event | None = None,
) -> Expected:
    """Restore the schema of the archive in ``root`` alone, on the server of ``target``, and read it.

    target: the restored database, whose encoding, locale and settings the scratch database gets.
    programs: pg_restore and pg_dump. work: a private folder.
    Raises MigrationError ``schema_not_restored`` when a statement of the archive fails.
    """
    restore, dump = programs
    with Session(target.maintenance) as session:
        model = existing_database(session, target.database)
        name = scratch_name(migration_id)
        with _roles_for_a_while(session, changes.moves), scratch_database(
            target, migration_id, name, model["owner"], model
        ) as scratch:
            archive = pg_restore.without_rows(root, evidence["dump"]["format"], work)
            schemas = {name: entry["schema"] for name, entry in evidence["objects"]["extension"].items()}
            _restore(scratch, archive, schemas, PublicSchema.of_evidence(evidence), changes, restore, stop)
            with Session(scratch) as inside:
                # The restore of the whole archive also drops its temporary roles, with their default privileges and their part in policies.
                with event_triggers.silent_transaction(inside):
                    for role in _marked(session, changes.moves):
                        inside.execute(f"DROP OWNED BY {quote(role)}")
                return Expected(print_schema(dump, scratch, work, stop), read_unprinted(inside), read_objects(inside))


def printed_after_a_dump(
    target: ConnectionSettings,
    migration_id: str,
    programs: tuple[Program, Program],
    work: Path,
    stop: threading.Event | None = None,
) -> Printed:
    """The schema of the database ``target``, printed after it was dumped and restored into a scratch database as the archive's was.

    A server prints some definitions differently after they were restored from a dump: casts of constants, lists of IN, and limits of an
    identity column whose type was changed.
    programs: pg_restore and pg_dump. work: a private folder. Raises MigrationError ``pg_dump_failed``, ``schema_not_restored``.
    """
    restore, dump = programs
    with tempfile.TemporaryDirectory(dir=work) as folder, Session(target.maintenance) as session:
        archive = Path(folder) / "schema.dump"
        command = pg_dump.schema_only(dump, archive, target.conninfo())
        dump_schema(pg_dump.Command(command), target, Path(folder), lambda _line: None)
        model = existing_database(session, target.database)
        with Session(target) as inside:
            # The rights in schema public are those of the target, whatever the source has.
            owner = read_objects(inside)["schema"].get("public", {}).get("owner", "")
            public = PublicSchema(public_schema.everybody_creates(inside), owner, public_schema.has_comment(inside))
        with scratch_database(target, migration_id, scratch_name(migration_id), model["owner"], model) as scratch:
            _restore(scratch, archive, {}, public, Changes(), restore, stop)
            return print_schema(dump, scratch, work, stop)


def _restore(
    scratch: ConnectionSettings,
    archive: Path,
    extension_schemas: Mapping[str, str],
    public: PublicSchema,
    changes: Changes,
    program: Program,
    stop: threading.Event | None,
) -> None:
    """The same steps as the restore of the whole archive, without the section ``data``."""
    failures = restore_schema(program, archive, scratch, changes, extension_schemas, public, stop)
    if failures:
        raise MigrationError(
            "The schema can't be compared: the target's server refused a statement of the archive in a scratch "
            f"database: {sentence(failures[0])}{then(failures[0])}",
            "schema_not_restored",
            messages=failures[:20],
        )


@contextmanager
def _roles_for_a_while(session: Session, moves: Moves) -> Iterator[None]:
    """Create those roles of the archive that the target has under another name or not at all; drop them at the end."""
    for name in sorted(set(moves) - {role["name"] for role in roles(session, set(moves))}):
        session.execute("BEGIN")
        session.execute(f"CREATE ROLE {quote(name)} NOLOGIN")
        session.execute(f"COMMENT ON ROLE {quote(name)} IS {literal(ROLE_MARK)}")
        session.execute("COMMIT")
    if not session.value("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"):
        for name in _marked(session, moves):
            session.execute(f"GRANT {quote(name)} TO CURRENT_USER")
    try:
        yield
    finally:
        for name in _marked(session, moves):
            session.execute(f"DROP ROLE {quote(name)}")


def _marked(session: Session, moves: Moves) -> list[str]:
    return [
        row["name"]
        for row in session.rows(
            "SELECT r.rolname AS name FROM pg_catalog.pg_roles AS r WHERE r.rolname = ANY(%s) "
            "AND pg_catalog.shobj_description(r.oid, 'pg_authid') = %s ORDER BY 1",
            [sorted(moves), ROLE_MARK],
        )
    ]
