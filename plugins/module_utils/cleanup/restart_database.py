# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Discard what a restore has made, so that it starts from the beginning. Only what this migration made is removed."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from ..common import restart
from ..common.errors import MigrationError
from ..physical import removal as removal_of_copy
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session, server_identity
from ..record.promoted import already_promoted
from ..record.rolled_back import already_reversed
from ..restore import target_database
from .restart import check_idle, forget, has_job


class DiscardedDatabase(TypedDict):
    """dropped: the name of the database, the folder of the copy of the server, or None."""

    dropped: str | None
    changed: bool


def discard_database(settings: ConnectionSettings, state: Path, incoming: str, write: bool) -> DiscardedDatabase:
    """Drop the database that this migration restores into, or remove its copy of the whole server (method physical).

    settings: of the database with the real name. Raises MigrationError ``job_running``, ``promoted``, ``rolled_back`` or
    ``incoming_exists``.
    """
    check_idle("restore", state)
    if (
        already_reversed(settings, state) is not None
        or already_promoted(settings, state, settings.database) is not None
    ):
        raise MigrationError(
            f"The migration {state.name!r} has given the database {settings.database!r} its name already, so it can't be restored "
            "again under this couch2pg_migration_id. Nothing was changed. Roll it back where that wasn't done (ansible-playbook "
            f"cht.couch2pg.rollback -i inventory.yml), then migrate again under another name: {restart.migrate_as(state.name)}",
            "promoted",
        )
    copy = removal_of_copy.copy_of(state)
    if copy is not None:
        # The method physical makes no database in the target's server.
        there = removal_of_copy.remove(copy, write)
        incoming = str(copy.incoming)
    else:
        with Session(settings.maintenance) as session:
            there = target_database.check_own(session, state, server_identity(session), incoming)
            if write and there:
                target_database.drop(session, incoming)
    changed = there or has_job("restore", state)
    if write:
        forget("restore", state)
    return {"dropped": incoming if there else None, "changed": changed}
