# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase promote: give the verified database its real name, and the existing database of that name another one, in one transaction.

The same transaction gives the database the properties that would have disturbed its restore.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable

from ..common import restart
from ..common.errors import MigrationError
from ..common.evidence_document import DatabaseProperties
from ..host.files import write_json
from ..jobs import job
from ..postgres.changes import rows_written
from ..postgres.connection import ConnectionSettings
from ..postgres.database import OtherSession, ending, find_database, is_empty, other_sessions, renamed, users
from ..postgres.database_properties import promotion_statements
from ..postgres.identifiers import quote, with_suffix
from ..postgres.session import Session, server_identity
from ..record.promoted import PROMOTED, Promotion
from ..record.restored import at_promotion
from ..record.verified import check_unchanged, verified

# A rename is repeated when the server counted a write meanwhile. ANALYZE by autovacuum counts as a write, but changes nothing.
ATTEMPTS = 5


def verified_oid(state: Path) -> int:
    """The oid of the database that this migration has verified.

    Raises MigrationError ``not_verified`` when there is no successful verification.
    """
    verified = job.read_state(state / "jobs" / "verify")
    if verified.status != "done":
        raise MigrationError(
            f"This migration has no successful verification in {verified.folder}: nothing is promoted without one. "
            "Run the verification first.",
            "not_verified",
        )
    return int(verified.result["value"]["oid"])


def check_verified(incoming: ConnectionSettings, state: Path, oid: int) -> None:
    """Raise MigrationError unless nothing was changed in the database ``incoming`` since it was verified.

    Its code is ``not_verified`` or ``changed_since_verified``.
    """
    with Session(incoming) as session:
        stored = verified(state, server_identity(session), oid)
    if stored is None:
        raise MigrationError(
            f"The state folder {state} doesn't tell how {incoming.database!r} was when it was verified. Run the verification again.",
            "not_verified",
        )
    check_unchanged(incoming, stored)


def plan(
    settings: ConnectionSettings, name: str, incoming: str, oid: int, replace_existing: bool
) -> DatabaseProperties | None:
    """The existing database with the real name, which must be renamed too; None without one.

    oid: of the verified database; no other database is promoted. Raises MigrationError ``incoming_missing`` or
    ``target_not_empty``.
    """
    with Session(settings.maintenance) as session:
        found = find_database(session, incoming)
        if found is None or found["oid"] != oid:
            raise MigrationError(
                f"The database that was verified (oid {oid}) is not called {incoming!r} any more. "
                f"{renamed(session, oid, incoming)} To restore and verify again: {restart.command('restore')}",
                "incoming_missing",
            )
        existing = find_database(session, name)
    if existing is None:
        return None
    with Session(settings.to(name)) as session:
        empty = is_empty(session)
    if not empty and not replace_existing:
        raise MigrationError(
            f"The target's database {name!r} is no longer empty. Nothing was changed. "
            "Find out what writes to it. To keep it under another name, set couch2pg_replace_existing to true.",
            "target_not_empty",
        )
    return existing


def check_unused(settings: ConnectionSettings, state: Path, names: list[str], oid: int) -> None:
    """Raise the MigrationError that ``promote`` raises before it renames: a database in ``names`` is in use, or the first was changed.

    Its code is ``database_in_use``, ``not_verified`` or ``changed_since_verified``. oid: of the first one.
    """
    with Session(settings.maintenance) as session:
        check_nobody_connected(session, names)
    check_verified(settings.to(names[0]), state, oid)


def promote(
    settings: ConnectionSettings,
    state: Path,
    name: str,
    incoming: str,
    oid: int,
    existing: DatabaseProperties | None,
    clock: Callable[[], float] = time.time,
) -> Promotion:
    """Rename both databases in one transaction; returns the stored promotion."""
    kept_as = None
    if existing:
        kept_as = with_suffix(name, f"_replaced_{time.strftime('%Y%m%dT%H%M%S', time.gmtime(clock()))}")
    with Session(settings.maintenance) as session:
        renames = [(name, kept_as)] if kept_as else []
        begin_unchanged(session, settings.to(incoming), state, oid, [*renames, (incoming, name)])
        identity = server_identity(session)
        later = at_promotion(state, identity, oid)
        for statement in promotion_statements(name, later) if later else []:
            session.execute(statement)
        # Record it before the commit. After an interruption in between, the name of the oid shows whether it committed.
        stored: Promotion = {"identity": identity, "oid": oid, "name": name, "kept_as": kept_as}
        write_json(state / PROMOTED, stored)
        session.execute("COMMIT")
    return stored


def begin_unchanged(
    session: Session, incoming: ConnectionSettings, state: Path, oid: int, renames: list[tuple[str, str]]
) -> None:
    """Begin a transaction and rename databases in it (old and new name), while ``incoming`` is still as it was verified.

    Nobody can connect to these databases until the transaction ends. session: of another database of that server. oid: of ``incoming``.
    Raises MigrationError ``database_in_use``, ``not_verified``, ``not_counted`` or ``changed_since_verified``; no transaction is open then.
    """
    for _attempt in range(ATTEMPTS):
        check_nobody_connected(session, [old for old, _new in renames])
        written = rows_written(session, oid)
        check_verified(incoming, state, oid)
        session.execute("BEGIN")
        for old, new in renames:
            rename(session, old, new)
        # Nobody can connect after the rename. So the server has counted every write between the check and the rename.
        if rows_written(session, oid) == written:
            return
        session.execute("ROLLBACK")
    raise MigrationError(
        f"Something writes to the database {incoming.database!r} again and again while it is about to be promoted. Nothing was "
        "changed. Find the program that connects to it, then run the same command again.",
        "changed_since_verified",
    )


def rename(session: Session, old: str, new: str) -> None:
    """Rename a database. Raises MigrationError ``database_in_use``; no transaction is open then."""
    try:
        session.execute(f"ALTER DATABASE {quote(old)} RENAME TO {quote(new)}")
    except MigrationError as error:
        if error.details.get("sqlstate") == "55006":
            session.execute("ROLLBACK")
            raise _in_use(old, other_sessions(session, old, patience=0)) from error
        raise


def check_nobody_connected(session: Session, names: list[str]) -> None:
    """Raise MigrationError ``database_in_use`` with the sessions that use one of the databases ``names``."""
    for name in names:
        connected = other_sessions(session, name)
        if connected:
            raise _in_use(name, connected)


def _in_use(name: str, connected: list[OtherSession]) -> MigrationError:
    return MigrationError(
        f"The database {name!r} can't be renamed while it is used{': ' if connected else ''}{users(connected)}. "
        f"Nothing was changed. {ending(name, connected)} Then run again.",
        "database_in_use",
        sessions=connected,
    )
