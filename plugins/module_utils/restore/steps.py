# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of a restore that are done and durable, so that the next attempt can resume after them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Iterable, NamedTuple, cast

from ..archive import pg_restore
from ..common import restart
from ..common.errors import MigrationError
from ..host.files import read_json, write_json
from ..postgres.connection import ConnectionSettings
from ..postgres.identifiers import qualified
from ..postgres.relations import Table
from ..postgres.session import Session
from ..record.restored import STEPS_FILE, Done, Of, StoredSteps

_CONFIGURATION = """
SELECT n.nspname AS schema, c.relname AS name, pg_catalog.pg_get_userbyid(c.relowner) AS owner, e.condition
FROM (SELECT pg_catalog.unnest(extconfig) AS oid, pg_catalog.unnest(extcondition) AS condition
      FROM pg_catalog.pg_extension) AS e
JOIN pg_catalog.pg_class AS c ON c.oid = e.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r'
"""


class _Configuration(NamedTuple):
    """A table that belongs to an extension; condition: a WHERE clause, for the rows that pg_dump carries over, or empty."""

    schema: str
    name: str
    owner: str
    condition: str

    @property
    def rows(self) -> str:
        """The rows that pg_dump carries over, for a statement."""
        return f"{qualified(self.schema, self.name)} {self.condition}"


class RestoreSteps:
    """The completed steps of one restore: of one archive, into the database ``oid`` of one server.

    done: what they found; only ``mark`` and ``start`` change it.
    """

    def __init__(self, state: Path, identity: str, manifest_sha256: str) -> None:
        self._path = state / STEPS_FILE
        # Some steps run side by side.
        self._lock = threading.Lock()
        self._of: Of = {"server_identity": identity, "manifest_sha256": manifest_sha256}
        stored = read_json(self._path)
        same = isinstance(stored, dict) and stored.get("of") == self._of
        # If the file belongs to another restore or is damaged, no step counts as done.
        done, oid = (stored.get("done"), stored.get("oid")) if same else (None, None)
        self.oid: int | None = oid if isinstance(oid, int) else None
        self.done: Done = {}
        if isinstance(done, dict) and self.oid is not None:
            self.done = cast("Done", done)

    def start(self, oid: int) -> None:
        """Start with a new database, without completed steps."""
        self.oid, self.done = oid, {}
        self._write()

    def mark(self, done: Done) -> None:
        """Record that these steps are done. What they wrote must be durable already."""
        with self._lock:
            self.done.update(done)
            self._write()

    def _write(self) -> None:
        stored: StoredSteps = {"of": self._of, "oid": self.oid, "done": self.done}
        write_json(self._path, stored)


def leave_out_loaded(
    settings: ConnectionSettings, lines: list[str], tables: Iterable[Table]
) -> tuple[list[str], set[str]]:
    """The archive's list without the rows of those ``tables`` that are loaded, and their names (``schema.name``).

    A table that has rows is complete, because its COPY commits all or none. A table whose entry in the list is ambiguous, or whose rows
    may have come with those of other partitions, is truncated and loaded again.
    """
    with Session(settings) as session:
        loaded = {
            pg_restore.entry_of_rows(table.schema, table.name, table.owner): table
            for table in tables
            if session.value(f"SELECT EXISTS (SELECT FROM ONLY {table.sql})")
        }
        left, unclear = pg_restore.without(lines, {entry for entry, table in loaded.items() if not table.tree})
        unclear |= {entry for entry, table in loaded.items() if table.tree}
        for entry in unclear:
            session.execute(f"TRUNCATE ONLY {loaded[entry].sql}")
    return left, {table.key for entry, table in loaded.items() if entry not in unclear}


def rows_of_extensions(session: Session, lines: list[str]) -> list[str]:
    """The lines of the archive's list with the rows of tables that belong to extensions.

    These tables have their foreign keys already. So one worker must load them in the order of the list, which parallel workers don't
    keep.
    """
    others, _unclear = pg_restore.without(lines, set(_configuration(session)))
    return [line for line in lines if line not in others]


def empty_extensions(session: Session, lines: list[str]) -> None:
    """Delete the rows that pg_dump carries over from tables that belong to extensions, so that they can be loaded.

    They may be there already: CREATE EXTENSION may insert them, or an earlier attempt of the restore loaded them.
    ``pg_extension_config_dump`` defines which rows pg_dump carries over. Raises MigrationError ``rows_remain`` when they can't be deleted.
    """
    tables = _configuration(session)
    _left, unclear = pg_restore.without(lines, set(tables))
    remaining = [table for entry, table in tables.items() if entry not in unclear and _has_rows(session, table)]
    # Foreign keys may require an order: try the others again as long as any table could be emptied.
    while remaining:
        kept = [table for table in remaining if not _emptied(session, table)]
        if len(kept) == len(remaining):
            names = ", ".join(f"{table.schema}.{table.name}" for table in kept)
            database = session.settings.database
            raise MigrationError(
                f"Rows of {names}, which belong to an extension, have the same keys as rows of the source and can't be deleted. "
                f"Restore {database!r} again from the beginning: {restart.command('restore')}",
                "rows_remain",
                tables=names,
            )
        remaining = kept


def _configuration(session: Session) -> dict[str, _Configuration]:
    """The tables that belong to extensions, by their entries in an archive's list."""
    tables = [_Configuration(**row) for row in session.rows(_CONFIGURATION)]
    return {pg_restore.entry_of_rows(table.schema, table.name, table.owner): table for table in tables}


def _has_rows(session: Session, table: _Configuration) -> bool:
    return bool(session.value(f"SELECT EXISTS (SELECT FROM ONLY {table.rows})"))


def _emptied(session: Session, table: _Configuration) -> bool:
    try:
        session.execute(f"DELETE FROM ONLY {table.rows}")
    except MigrationError as error:
        if error.code != "sql":
            raise
        return False
    # A trigger may prevent the deletion of rows.
    return not _has_rows(session, table)


def make_durable(settings: ConnectionSettings) -> None:
    """Make all earlier asynchronous commits durable, with one synchronous commit.

    Only a transaction that writes flushes the WAL. A message in the WAL is the cheapest, and fires no event trigger.
    """
    with Session(settings) as session:
        session.execute("BEGIN")
        session.execute("SET LOCAL synchronous_commit = on")
        session.execute("SELECT pg_catalog.pg_logical_emit_message(true, 'cht.couch2pg', 'flush')")
        session.execute("COMMIT")
