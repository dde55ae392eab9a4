# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema that a restored database must have: the archive's schema, restored alone into a scratch database."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Mapping

from ..archive import pg_restore
from ..archive.scratch import restore_section, scratch_database
from ..common.errors import MigrationError
from ..host.programs import Program
from ..postgres import extension_versions, function_paths, role_transfer
from ..postgres.connection import ConnectionSettings, Session
from ..postgres.database import find_database, roles
from ..postgres.identifiers import literal, quote
from ..postgres.objects import Objects, read_objects
from ..postgres.role_mapping import Moves
from .printed import Printed, print_schema

# The comment on a role says who made it, so that the next run drops what a killed run left.
ROLE_MARK = "cht.couch2pg: made for a scratch database, safe to drop"


@dataclass(frozen=True)
class Changes:
    """What the restore changed on purpose between the archive and the target.

    moves: new name of each role that has another one on the target, None for a role whose privileges were revoked.
    extension_versions, function_search_path: as the options of the module ``pg_restore`` of that name.
    tablespaces: ``keep`` or ``default``.
    """

    moves: Moves = field(default_factory=dict)
    function_search_path: Mapping[str, str] = field(default_factory=dict)
    extension_versions: Mapping[str, str] = field(default_factory=dict)
    tablespaces: str = "keep"

    @classmethod
    def of_restore(cls, result: Mapping[str, Any]) -> Changes:
        """The changes that the result of a restore names; none for an empty result."""
        choices = result.get("choices") or {}
        return cls(
            result.get("moved_roles") or {},
            result.get("function_search_path") or {},
            choices.get("extension_versions") or {},
            choices.get("tablespaces") or "keep",
        )


@dataclass(frozen=True)
class Expected:
    """The schema of the archive after the changes: what pg_dump prints of it, and what exists in it."""

    printed: Printed
    objects: Objects


def expected_schema(
    target: ConnectionSettings,
    migration_id: str,
    root: Path,
    evidence: Mapping[str, Any],
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
        model = find_database(session, target.database)
        if model is None:
            raise MigrationError(f"There is no database {target.database!r} at {target.place}.", "database_missing")
        name = scratch_name(migration_id)
        with _roles_for_a_while(session, changes.moves), scratch_database(
            target, migration_id, name, model["owner"], model
        ) as scratch:
            _set_like(session, name, model)
            _restore(scratch, root, evidence, changes, restore, work)
            printed = print_schema(dump, scratch, work, stop)
            with Session(scratch) as inside:
                return Expected(printed, read_objects(inside))


def scratch_name(migration_id: str) -> str:
    """A name that nobody else uses; the same for every run of a migration."""
    return f"couch2pg_scratch_{hashlib.sha256(migration_id.encode()).hexdigest()[:12]}"


def _restore(
    scratch: ConnectionSettings,
    root: Path,
    evidence: Mapping[str, Any],
    changes: Changes,
    program: Program,
    work: Path,
) -> None:
    """The same steps as the restore of the whole archive, without the section ``data``."""
    archive = pg_restore.without_rows(root, evidence["dump"]["format"], work)
    lines = pg_restore.read_list(program, archive)

    def section(name: str, some: list[str]) -> None:
        failures = [
            message
            for message in restore_section(program, name, archive, some, scratch, changes.tablespaces)
            if not message["harmless"]
        ]
        if failures:
            raise MigrationError(
                "The schema can't be compared: the target's server refused a statement of the archive in a scratch "
                f"database: {failures[0]['message'].splitlines()[0]}. {failures[0]['advice']}",
                "schema_not_restored",
                section=name,
                messages=failures[:20],
            )

    with Session(scratch) as session:
        installed = {name: entry["schema"] for name, entry in evidence["objects"]["extension"].items()}
        needed = set(extension_versions.schemas(changes.extension_versions, installed).values())
        first = pg_restore.schemas(lines, needed - {"public", "pg_catalog"})
        if first:
            section("pre-data", first)
        extension_versions.create(session, changes.extension_versions, installed)
        section("pre-data", [line for line in lines if line not in first])
        function_paths.apply(session, changes.function_search_path)
        section("post-data", lines)
        role_transfer.transfer(session, changes.moves)


def _set_like(session: Session, name: str, model: Mapping[str, Any]) -> None:
    """Give the scratch database the settings of the restored one: some change how a server reads a definition."""
    for setting in model["settings"] or []:
        option, value = setting.split("=", 1)
        try:
            session.execute(f"ALTER DATABASE {quote(name)} SET {quote(option)} TO {literal(value)}")
        except MigrationError as error:
            # A list, such as search_path, is no single value. pg_dump and pg_restore set these themselves.
            if error.code != "sql":
                raise


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
