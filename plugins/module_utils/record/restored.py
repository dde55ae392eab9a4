# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database this migration restores into, according to its state folder on the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.evidence_document import PropertiesAtPromotion
from ..host.files import read_json

STEPS_FILE = "restore_steps.json"


def restored_oid(state: Path, identity: str) -> int | None:
    """The oid of the database on this server that the migration restores into, or None."""
    stored = _stored(state, identity)
    return None if stored is None else stored.get("oid")


def counts_when_digested(state: Path, identity: str, oid: int) -> dict[str, Any]:
    """What the server had counted in the tables of this database when the restore digested them (``changes.read_counts``).

    Empty when that isn't known.
    """
    stored = _stored(state, identity)
    if stored is None or stored.get("oid") != oid:
        return {}
    counts = (stored.get("done") or {}).get("counts")
    return counts if isinstance(counts, dict) else {}


def sequences_when_restored(state: Path, identity: str, oid: int) -> dict[str, Any]:
    """The values of this database's sequences when its rows were loaded (``evidence.document.sequence_values``).

    Empty when that isn't known.
    """
    stored = _stored(state, identity)
    if stored is None or stored.get("oid") != oid:
        return {}
    return dict((stored.get("done") or {}).get("sequences") or {})


def matviews_on_source(state: Path, identity: str, oid: int) -> dict[str, int | None]:
    """Bytes of each materialized view ``schema.name`` on the source of this database: None for one that had no data there.

    Empty when that isn't known.
    """
    stored = _stored(state, identity)
    if stored is None or stored.get("oid") != oid:
        return {}
    return dict((stored.get("done") or {}).get("matviews") or {})


def at_promotion(state: Path, identity: str, oid: int) -> PropertiesAtPromotion | None:
    """The properties that the promotion of this database sets, as its restore stored them; None when there are none or it isn't known."""
    stored = _stored(state, identity)
    if stored is None or stored.get("oid") != oid:
        return None
    return ((stored.get("done") or {}).get("properties") or {}).get("at_promotion")


def _stored(state: Path, identity: str) -> dict[str, Any] | None:
    stored = read_json(state / STEPS_FILE)
    if not isinstance(stored, dict) or (stored.get("of") or {}).get("server_identity") != identity:
        return None
    return stored
