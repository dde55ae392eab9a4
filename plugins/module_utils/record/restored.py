# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database this migration restores into, according to its state folder on the target."""

from __future__ import annotations

from pathlib import Path

from ..host.files import read_json

STEPS_FILE = "restore_steps.json"


def restored_oid(state: Path, identity: str) -> int | None:
    """The oid of the database on this server that the migration restores into, or None."""
    stored = read_json(state / STEPS_FILE)
    if not isinstance(stored, dict) or (stored.get("of") or {}).get("server_identity") != identity:
        return None
    return stored.get("oid")
