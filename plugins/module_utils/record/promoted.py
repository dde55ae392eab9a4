# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database this migration promoted, according to its state folder on the target."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Sequence, TypedDict, cast

from ..common.errors import MigrationError
from ..host.files import read_json
from ..postgres.connection import ConnectionSettings
from ..postgres.database import find_database_by_oid
from ..postgres.session import Session, server_identity

PROMOTED = "promoted.json"
# A file in a data directory that the method physical promoted. It tells two copies of one source apart, whose system identifiers are equal.
MARK = "couch2pg_migration.json"


class Marked(TypedDict, total=False):
    """What is stored of a database on a server whose data directory may have a mark."""

    mark: str


class Service(TypedDict):
    """What runs the server of a data directory, with the commands that stop and start it."""

    kind: str
    unit: str
    stop: Sequence[str]
    start: Sequence[str]


class _Renamed(TypedDict):
    identity: str
    oid: int
    name: str
    kept_as: str | None


class Promotion(_Renamed, Marked, total=False):
    """The content of PROMOTED, and the result of promote: server, oid and name of the database, the new name of the one it replaced.

    Only the method physical has more: the server's data directory, where the copy was made (``incoming``), the new path of the data
    directory that was replaced, and the identity of its server.
    """

    data_directory: str
    incoming: str
    replaced: str
    replaced_identity: str
    service: Service


def stored_promotion(state: Path) -> Promotion | None:
    """What the promotion of this migration stored; None before the promotion.

    Raises MigrationError ``damaged_file``, which says how the record replaces the file.
    """
    script = f"import json; json.dump(json.load(open('record.json'))['phases']['promote']['result'], open('{PROMOTED}', 'w'))"
    found = read_json(
        state / PROMOTED,
        "Do not move it away, because the migration would begin again. The record has the same values. To write the file again, run as "
        f"the user to whom it belongs: cd {shlex.quote(str(state))} && python3 -c {shlex.quote(script)}",
    )
    return cast("Promotion", found) if isinstance(found, dict) else None


def already_promoted(settings: ConnectionSettings, state: Path, name: str) -> Promotion | None:
    """The stored promotion of this migration, if that database still has the name ``name`` on this server; else None."""
    stored = stored_promotion(state)
    if stored is None:
        return None
    with Session(settings.maintenance) as session:
        if stored.get("identity") != server_identity(session) or not has_mark(session, stored):
            return None
        found = find_database_by_oid(session, stored["oid"])
    return stored if found is not None and found["name"] == name else None


def current(settings: ConnectionSettings, state: Path) -> ConnectionSettings:
    """``settings``, changed to the promoted database's name if this migration's database was promoted."""
    stored = stored_promotion(state)
    if stored is not None and already_promoted(settings, state, stored["name"]):
        return settings.to(stored["name"])
    return settings


def has_mark(session: Session, stored: Marked) -> bool:
    """Whether the session's server has the mark of the stored promotion. True as well if there is no mark, or the role may not see it."""
    return "mark" not in stored or mark_of(session, stored["mark"]) == stored["mark"]


def mark_of(session: Session, unknown: str | None = None) -> str | None:
    """The mark in the data directory of the session's server, None when it has none; ``unknown`` where the role may not see it."""
    try:
        text = session.value("SELECT pg_catalog.pg_read_file(%s, 0, 1000, true)", [MARK])
    except MigrationError as error:
        if error.code != "sql":
            raise
        return unknown
    return None if text is None else str(json.loads(text)["mark"])
