# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database this migration restores into, according to its state folder on the target."""

from __future__ import annotations

from pathlib import Path
from typing import List, TypedDict, cast

from ..common.evidence_document import PropertiesAtPromotion
from ..common.evidence_rows import DigestDocument, SequenceValue
from ..host.files import read_json
from ..postgres.changes import Counts
from .results import Choices, CreatedProperties

STEPS_FILE = "restore_steps.json"

# The steps of a restore that are done, with what they found.
# rows, apart: large tables, loaded apart from the others, and their names; last: tables that are loaded after all others.
# properties, roles, moves, settings, choices: of the new database, as the result has them. matviews: bytes on the source by name, None for
# a view without data there. functions, paths: settings of functions, as the result has them.
# digests, digested_at: of the tables; counts, sequences: the server's counts and the sequences' values before they were read.
Done = TypedDict(
    "Done",
    {
        "pre-data": bool,
        "data": bool,
        "rows": bool,
        "apart": "list[str]",
        "last": bool,
        "post-data": bool,
        "properties": CreatedProperties,
        "roles": "list[str]",
        "moves": "dict[str, str | None]",
        "settings": "list[str]",
        "choices": Choices,
        "matviews": "dict[str, int | None]",
        "functions": "dict[str, list[str]]",
        "paths": "dict[str, str]",
        "sequences": "dict[str, SequenceValue]",
        "counts": Counts,
        "digests": List[DigestDocument],
        "digested_at": str,
    },
    total=False,
)


class Of(TypedDict):
    """Which restore it is: the target's server, and the manifest of the archive."""

    server_identity: str
    manifest_sha256: str


class StoredSteps(TypedDict):
    """The content of STEPS_FILE. oid: of the database to restore into."""

    of: Of
    oid: int | None
    done: Done


def restored_oid(state: Path, identity: str) -> int | None:
    """The oid of the database on this server that the migration restores into, or None."""
    stored = _stored(state, identity)
    return None if stored is None else stored.get("oid")


def counts_when_digested(state: Path, identity: str, oid: int) -> Counts:
    """What the server had counted in the tables of this database when the restore digested them.

    Empty when that isn't known.
    """
    stored = _stored(state, identity)
    if stored is None or stored.get("oid") != oid:
        return {}
    return stored["done"].get("counts") or {}


def sequences_when_restored(state: Path, identity: str, oid: int) -> dict[str, SequenceValue]:
    """The values of this database's sequences when its rows were loaded.

    Empty when that isn't known.
    """
    stored = _stored(state, identity)
    if stored is None or stored.get("oid") != oid:
        return {}
    return stored["done"].get("sequences") or {}


def matviews_on_source(state: Path, identity: str, oid: int) -> dict[str, int | None]:
    """Bytes of each materialized view ``schema.name`` on the source of this database: None for one that had no data there.

    Empty when that isn't known.
    """
    stored = _stored(state, identity)
    if stored is None or stored.get("oid") != oid:
        return {}
    return stored["done"].get("matviews") or {}


def at_promotion(state: Path, identity: str, oid: int) -> PropertiesAtPromotion | None:
    """The properties that the promotion of this database sets, as its restore stored them; None when there are none or it isn't known."""
    stored = _stored(state, identity)
    if stored is None or stored.get("oid") != oid:
        return None
    created = stored["done"].get("properties")
    return created.get("at_promotion") if created else None


def _stored(state: Path, identity: str) -> StoredSteps | None:
    stored = read_json(state / STEPS_FILE)
    if not isinstance(stored, dict) or (stored.get("of") or {}).get("server_identity") != identity:
        return None
    return cast("StoredSteps", {**stored, "oid": stored.get("oid"), "done": stored.get("done") or {}})
