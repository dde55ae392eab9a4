# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on the target: restore the source's schema without rows into a scratch database, and report what fails.

The restore changes the schema in the same ways later (roles, search_path of functions, tablespaces, versions of
extensions), so a statement that fails here would fail there, after the rows were dumped and transferred.
"""

from __future__ import annotations

import base64
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..archive.messages import OBJECT_MISSING, Message, sentence
from ..archive.scratch import drop_left_over, scratch_database, scratch_name
from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.findings import Findings
from ..host import programs
from ..host.temporary import temporary_folder
from ..postgres import role_plan
from ..postgres.connection import ConnectionSettings
from ..postgres.database_properties import plan_properties
from ..postgres.identifiers import literal, quote
from ..postgres.public_schema import PublicSchema
from ..postgres.role_plan import RolePlan
from ..postgres.session import Session
from ..schema.restore import Changes, restore_schema
from .options import Options
from .source_facts import SourceFacts

NAME = "schema on the target"
SHOWN = 3
# The comment on a role that exists only for the rehearsal, so that a later run may drop what a killed run left.
MARK = "cht.couch2pg: role for the schema rehearsal of the migration {migration_id}, safe to drop"
_MARKED = """
SELECT r.rolname AS name FROM pg_catalog.pg_roles AS r
WHERE pg_catalog.shobj_description(r.oid, 'pg_authid') = %s ORDER BY 1
"""


def examine(
    settings: ConnectionSettings, findings: Findings, options: Options, source: SourceFacts, schema: str
) -> None:
    """The finding of a rehearsal with ``schema``, as ``schema_archive.dump`` returned it."""
    failures = _one_for_each_entry(_Rehearsal(settings, options, source).run(base64.b64decode(schema)))
    if not failures:
        findings.ok(NAME, "the source's schema was restored into a scratch database without a failure")
        return
    # A missing object is often the consequence of another failure, so other failures are shown first.
    causes = [message for message in failures if message["kind"] != OBJECT_MISSING] or failures
    shown = " ".join(sentence(message) for message in causes[:SHOWN])
    hidden = len(failures) - len(causes[:SHOWN])
    more = f" ({counted(hidden, 'more failure')}; see the details.)" if hidden else ""
    findings.failure(NAME, f"The target can't restore the source's schema. {shown}{more}", statements=failures)


def _one_for_each_entry(messages: list[Message]) -> list[Message]:
    """The first message of each entry of the archive. The others are consequences: a missing object can have no owner and no grants."""
    first: dict[str, Message] = {}
    for message in messages:
        first.setdefault(message["entry"], message)
    return list(first.values())


class _Rehearsal:
    def __init__(self, settings: ConnectionSettings, options: Options, source: SourceFacts) -> None:
        self.settings = settings
        self.options = options
        self.source = source
        self.program = programs.find("pg_restore", options["bin_dir"])

    def run(self, schema: bytes) -> list[Message]:
        """The messages of pg_restore that are failures, and those of our own changes."""
        migration_id, name = self.options["migration_id"], scratch_name(self.options["migration_id"])
        with Session(self.settings.maintenance) as session:
            drop_left_over(session, migration_id, name)
        with self._temporary_roles() as planned, temporary_folder() as folder:
            archive = folder / "schema.dump"
            archive.touch(mode=0o600)
            archive.write_bytes(schema)
            with scratch_database(
                self.settings, migration_id, name, self._owner(planned), self.source["database"]
            ) as scratch:
                return self._restore(archive, scratch, planned)

    def _owner(self, planned: RolePlan) -> str:
        wanted = plan_properties(self.settings, self.settings.database, self.source["database"], planned.moves)
        return str(wanted.properties["owner"])

    def _restore(self, archive: Path, scratch: ConnectionSettings, planned: RolePlan) -> list[Message]:
        options = self.options
        changes = Changes(
            planned.moves, options["function_search_path"], options["extension_versions"], options["tablespaces"]
        )
        everybody = "PUBLIC" in self.source.get("public", {}).get("creators", [])
        extensions = self.source.get("extension_schemas", {})
        return restore_schema(self.program, archive, scratch, changes, extensions, PublicSchema(everybody))

    @contextmanager
    def _temporary_roles(self) -> Iterator[RolePlan]:
        """Create the roles that the target lacks, without login, for as long as the rehearsal takes."""
        mark = MARK.format(migration_id=self.options["migration_id"])
        with Session(self.settings.maintenance) as session:
            _drop_marked(session, mark)
            owning = set(self.source["owners"]) | {self.source["database"]["owner"]}
            planned = role_plan.plan(
                session, self.source["roles"], owning, self.options["missing_roles"], self.options["role_map"]
            )
            session.execute("BEGIN")
            role_plan.make(session, planned, set(self.source["acted_for"]) | owning)
            for role in planned.make:
                session.execute(f"COMMENT ON ROLE {quote(role['name'])} IS {literal(mark)}")
            session.execute("COMMIT")
        try:
            yield planned
        finally:
            with Session(self.settings.maintenance) as session:
                _drop_marked(session, mark)


def _drop_marked(session: Session, mark: str) -> None:
    for row in session.rows(_MARKED, [mark]):
        try:
            session.execute(f"DROP ROLE {quote(row['name'])}")
        except MigrationError as error:
            # A scratch database that could not be dropped needs it; the next run drops both.
            if error.details.get("sqlstate") != "2BP01":
                raise
