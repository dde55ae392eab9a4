# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scratch database on the target: created empty for one check, restored into, read, and dropped again."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping

from ..common.errors import MigrationError
from ..host import programs
from ..host.files import FILE_MODE
from ..host.temporary import temporary_folder
from ..postgres import event_triggers, limited_program, preload_libraries
from ..postgres.connection import ConnectionSettings
from ..postgres.database import create_statement, end_sessions, find_database, freeing_name, is_empty
from ..postgres.database_removal import drop_database
from ..postgres.identifiers import check_length, literal, quote
from ..postgres.program_environment import program_environment
from ..postgres.session import Session
from ..postgres.session_settings import NOT_FOR_RESTORE, as_options, set_clause
from . import pg_restore
from .messages import Listener, Message, Rule

# The comment on the database says who made it, so that a later run may drop what a killed run left.
MARK_START = "cht.couch2pg: scratch database"
MARK = MARK_START + " of the migration {migration_id}, safe to drop"


def scratch_name(migration_id: str) -> str:
    """The name of a migration's scratch database: unique, and the same in every run."""
    return f"couch2pg_scratch_{hashlib.sha256(migration_id.encode()).hexdigest()[:12]}"


@contextmanager
def scratch_database(
    settings: ConnectionSettings, migration_id: str, name: str, owner: str, model: Mapping[str, Any]
) -> Iterator[ConnectionSettings]:
    """Create the database ``name`` with the encoding, locale and settings of ``model``; drop it at the end, whatever happens.

    ``model`` is what ``find_database`` returned for the source. ``owner`` has an owner's rights in schema public.
    Yields the settings that lead to the new database.
    Raises MigrationError ``scratch_exists`` for a database of that name that this migration did not make, and ``server_stuck`` when it
    can't be dropped.
    """
    check_length(name)
    mark = MARK.format(migration_id=migration_id)
    with Session(settings.maintenance) as session:
        drop_left_over(session, migration_id, name)
        session.execute(create_statement(session, name, owner, model))
        try:
            session.execute(f"COMMENT ON DATABASE {quote(name)} IS {literal(mark)}")
            _set(session, name, model["settings"] or [])
            yield settings.to(name)
        finally:
            # The next run drops what is left. If the server is gone, another error reports that.
            try:
                _drop(session, name)
            except MigrationError as error:
                if error.code == "server_stuck":
                    raise


def _set(session: Session, name: str, settings: Iterable[str]) -> None:
    """Set ``settings``, which change how a server reads a definition, and load libraries. As in the restore, refused ones are left out."""
    for setting in settings:
        if preload_libraries.refusal(session.settings, setting):
            continue
        try:
            session.execute(f"ALTER DATABASE {quote(name)} {set_clause(setting)}")
        except MigrationError as error:
            if error.code != "sql":
                raise


def drop_left_over(session: Session, migration_id: str, name: str) -> None:
    """Drop the scratch database ``name`` that a killed run of this migration left; nothing when there is none.

    Raises MigrationError ``scratch_exists`` for a database of that name that this migration did not make.
    """
    found = find_database(session, name)
    if found is None:
        return
    # A run that was killed right after it created the database left no comment, and nothing in it.
    unmarked = found["comment"] is None and name == scratch_name(migration_id) and _is_empty(session.settings.to(name))
    if found["comment"] != MARK.format(migration_id=migration_id) and not unmarked:
        raise MigrationError(
            f"The target already has a database {name!r}, and this migration didn't make it. It needs that name for a "
            f"scratch database. {freeing_name(name)}",
            "scratch_exists",
            database=name,
        )
    _drop(session, name)


def _is_empty(settings: ConnectionSettings) -> bool:
    with Session(settings) as session:
        return is_empty(session)


def _drop(session: Session, name: str) -> None:
    end_sessions(session, name)
    drop_database(session, name)


def restore_section(
    program: programs.Program,
    section: str,
    archive: Path,
    lines: list[str],
    settings: ConnectionSettings,
    tablespaces: str = "keep",
    stop: threading.Event | None = None,
    rules: tuple[Rule, ...] = (),
) -> list[Message]:
    """Restore one section (``pre-data`` or ``post-data``) of ``archive``; returns every message, as ``Listener.found``.

    ``lines``: what to restore, from ``pg_restore.read_list``. ``tablespaces``: ``keep`` or ``default``. ``rules``: more
    rules for the messages.
    Raises MigrationError ``pg_restore_failed`` when pg_restore ends without saying why, and ``stopped`` because of ``stop``.
    """
    listener = Listener(more=rules)
    with temporary_folder() as folder:
        listing, passfile = folder / "list", folder / "passfile"
        pg_restore.write_list(lines, listing)
        passfile.touch(mode=FILE_MODE)
        passfile.write_text(settings.passfile_line(), encoding="utf-8")
        command = pg_restore.build(program, section, archive, listing, settings.conninfo(), jobs=1)
        if tablespaces == "default":
            command.insert(1, "--no-tablespaces")
        environment = program_environment(settings, passfile, leave=NOT_FOR_RESTORE)
        if section != "pre-data":
            with Session(settings) as session:
                environment["PGOPTIONS"] += f" {as_options(event_triggers.settings(session))}"
        code = limited_program.run(settings, command, environment, listener.line, stop)
    listener.flush()
    if stop is not None and stop.is_set():
        raise MigrationError("pg_restore was stopped.", "stopped")
    if code not in (0, 1) or (code == 1 and not listener.found):
        raise MigrationError(
            f"pg_restore ended with exit code {code} and gave no reason, when it restored the schema into the scratch "
            f"database {settings.database!r}. See the server's log, then run again.",
            "pg_restore_failed",
            section=section,
            exit_code=code,
        )
    return listener.found
