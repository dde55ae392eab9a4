# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore the schema of an archive without rows, by the same steps as the restore of the whole archive."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping

from ..archive import pg_restore
from ..archive.messages import Message, written_for_newer
from ..archive.scratch import restore_section
from ..host.programs import Program, major
from ..postgres import collations, extension_versions, function_paths, public_schema, role_transfer
from ..postgres.connection import ConnectionSettings
from ..postgres.public_schema import PublicSchema
from ..postgres.role_mapping import Moves
from ..postgres.session import Session
from ..record.results import RestoreResult


@dataclass(frozen=True)
class Changes:
    """What the restore changes on purpose between the archive and the target.

    moves: new name of each role that has another one on the target, None for a role whose privileges were revoked.
    extension_versions, function_search_path: as the options of the module ``pg_restore`` of that name.
    tablespaces: ``keep`` or ``default``.
    """

    moves: Moves = field(default_factory=dict)
    function_search_path: Mapping[str, str] = field(default_factory=dict)
    extension_versions: Mapping[str, str] = field(default_factory=dict)
    tablespaces: str = "keep"

    @classmethod
    def of_restore(cls, result: RestoreResult | None) -> Changes:
        """The changes that the result of a restore names; none without a result."""
        if result is None:
            return cls()
        choices = result.get("choices")
        return cls(
            result.get("moved_roles") or {},
            result.get("function_search_path") or {},
            choices.get("extension_versions") or {} if choices else {},
            choices.get("tablespaces") or "keep" if choices else "keep",
        )


def restore_schema(
    program: Program,
    archive: Path,
    scratch: ConnectionSettings,
    changes: Changes,
    extension_schemas: Mapping[str, str],
    public: PublicSchema,
    stop: threading.Event | None = None,
) -> list[Message]:
    """Restore all but the rows of ``archive`` into ``scratch``; returns the messages that are failures.

    program: pg_restore. extension_schemas: the schema of each extension of the source. everybody_creates: whether every
    role may create in schema public on the source. public_owner: its owner there. stop: ends it early with MigrationError ``stopped``.
    """
    lines = pg_restore.read_list(program, archive)
    found: list[Message] = []

    def section(name: str, some: list[str]) -> None:
        messages = restore_section(program, name, archive, some, scratch, changes.tablespaces, stop, rules)
        found.extend(message for message in messages if not message["harmless"])

    with Session(scratch) as session:
        rules = written_for_newer(pg_restore.dumped_by(lines), major(session.version))
        collations.import_system(session)
        needed = set(extension_versions.schemas(changes.extension_versions, extension_schemas).values())
        first = pg_restore.schemas(lines, needed - {"public", "pg_catalog"})
        if first:
            section("pre-data", first)
        extension_versions.create(session, changes.extension_versions, extension_schemas)
        section("pre-data", [line for line in lines if line not in first])
        public_schema.carry_over(session, public)
        function_paths.apply(session, changes.function_search_path)
        section("post-data", lines)
        if not found:
            role_transfer.transfer(session, changes.moves)
    return found
