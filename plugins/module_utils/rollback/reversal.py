# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reverse a promotion: rename the migrated database, and rename the database that was replaced back to its old name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, TypedDict

from ..common.errors import MigrationError
from ..host.files import write_json
from ..postgres.connection import ConnectionSettings
from ..postgres.database import find_database, find_database_by_oid, renamed
from ..postgres.identifiers import with_suffix
from ..postgres.session import Session, server_identity
from ..promote.promotion import check_nobody_connected, rename
from ..record.promoted import PROMOTED, has_mark, stored_promotion
from ..record.rolled_back import REVERSED, Reversal


class Planned(TypedDict):
    """The promotion to reverse. restored: the name of the replaced database, or None.

    server: whether the whole server was replaced (method physical). Then ``data`` is its data directory, and ``restored`` the path of the
    replaced data directory.
    """

    name: str
    oid: int
    identity: str
    restored: str | None
    server: bool
    data: str | None


def plan(settings: ConnectionSettings, state: Path) -> Planned:
    """The promotion to reverse.

    Raises MigrationError ``not_promoted`` or ``stale_evidence``.
    """
    stored = stored_promotion(state)
    if stored is None:
        raise MigrationError(
            f"This migration has not promoted a database ({state / PROMOTED} is missing), so there is nothing to roll back. "
            f"To stop its jobs: ansible-playbook cht.couch2pg.cancel -i inventory.yml -e couch2pg_migration_id={state.name}",
            "not_promoted",
        )
    with Session(settings.maintenance) as session:
        ours = stored["identity"] == server_identity(session) and has_mark(session, stored)
        found = find_database_by_oid(session, stored["oid"]) if ours else None
        if found is None or found["name"] != stored["name"]:
            where = renamed(session, stored["oid"], stored["name"]) if ours else "This is another server."
            raise MigrationError(
                f"The database {stored['name']!r} that this migration promoted (oid {stored['oid']}) does not have that name at "
                f"{settings.place} any more. Nothing was changed. {where}",
                "stale_evidence",
                promoted=stored,
            )
        if "mark" in stored:
            return {
                "name": stored["name"],
                "oid": stored["oid"],
                "identity": stored["identity"],
                "restored": stored["replaced"],
                "server": True,
                "data": stored["data_directory"],
            }
        before = stored.get("kept_as")
        restored = before if before and find_database(session, before) is not None else None
    return {
        "name": stored["name"],
        "oid": stored["oid"],
        "identity": stored["identity"],
        "restored": restored,
        "server": False,
        "data": None,
    }


def reverse(
    settings: ConnectionSettings,
    state: Path,
    planned: Planned,
    clock: Callable[[], float] = time.time,
) -> Reversal:
    """Rename both databases in one transaction; returns the stored rollback."""
    name = planned["name"]
    kept_as = with_suffix(name, f"_rolled_back_{time.strftime('%Y%m%dT%H%M%S', time.gmtime(clock()))}")
    with Session(settings.maintenance) as session:
        check_nobody_connected(session, [name] + ([planned["restored"]] if planned["restored"] else []))
        session.execute("BEGIN")
        rename(session, name, kept_as)
        if planned["restored"]:
            rename(session, planned["restored"], name)
        # Record it before the commit. After an interruption in between, the name of the oid shows whether it committed.
        stored: Reversal = {
            "name": name,
            "oid": planned["oid"],
            "identity": planned["identity"],
            "restored": planned["restored"],
            "kept_as": kept_as,
        }
        write_json(state / REVERSED, stored)
        session.execute("COMMIT")
    return stored
