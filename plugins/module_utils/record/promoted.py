# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database this migration promoted, according to its state folder on the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..host.files import read_json
from ..postgres.connection import ConnectionSettings, Session, server_identity
from ..postgres.database import find_database_by_oid

PROMOTED = "promoted.json"


def already_promoted(settings: ConnectionSettings, state: Path, name: str) -> dict[str, Any] | None:
    """The stored promotion of this migration, if that database still has the name ``name`` on this server; else None."""
    stored = read_json(state / PROMOTED)
    if not isinstance(stored, dict):
        return None
    with Session(settings.maintenance) as session:
        if stored.get("identity") != server_identity(session):
            return None
        found = find_database_by_oid(session, stored["oid"])
    return stored if found is not None and found["name"] == name else None


def current(settings: ConnectionSettings, state: Path) -> ConnectionSettings:
    """``settings``, changed to the promoted database's name if this migration's database was promoted."""
    stored = read_json(state / PROMOTED)
    if isinstance(stored, dict) and already_promoted(settings, state, stored["name"]):
        return settings.to(stored["name"])
    return settings
