# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database this migration verified, when, and in which state, as its state folder on the target records it."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, cast

from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..host.files import read_json, write_json
from ..postgres import changes
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session

VERIFIED = "verified.json"
# The oid of a rehearsal's copy. playbooks/rehearsal/handover.yml writes it before couch2pg is started on that copy.
HANDOVER_BEGUN = "handover_begun.json"


class Verified(TypedDict):
    """The content of VERIFIED: server and oid of the database, the time, and its state from before it was read."""

    identity: str
    oid: int
    at: str
    state: changes.DatabaseState


def remember_verified(state: Path, identity: str, oid: int, found: changes.DatabaseState) -> str:
    """Record that the database was verified; ``found`` is its state from before it was read.

    Returns the time, as the record has it.
    """
    stored: Verified = {"identity": identity, "oid": oid, "at": utc_now(), "state": found}
    write_json(state / VERIFIED, stored)
    return stored["at"]


def verified(state: Path, identity: str, oid: int) -> Verified | None:
    """The verification of this very database, or None."""
    stored = read_json(state / VERIFIED)
    if not isinstance(stored, dict) or (stored.get("identity"), stored.get("oid")) != (identity, oid):
        return None
    return cast("Verified", stored)


def changed_since(settings: ConnectionSettings, stored: Verified) -> list[str]:
    """What changed in the database of ``settings`` since it was verified, in words; ``stored`` is what ``verified`` returned."""
    with Session(settings) as session:
        return changes.changed_parts(stored["state"], changes.read_state(session))


def handover_begun(state: Path, oid: int) -> bool:
    """Whether this is the state of a rehearsal that has started couch2pg on this very database: couch2pg may write to it since."""
    stored = read_json(state / HANDOVER_BEGUN)
    return isinstance(stored, dict) and stored.get("oid") == oid


def check_counted(settings: ConnectionSettings) -> None:
    """Raise MigrationError ``not_counted`` where the server doesn't count what sessions write to the database of ``settings``."""
    with Session(settings) as session:
        statements = changes.uncounted(session)
    if statements:
        raise MigrationError(
            f"The target's server does not count every write (track_counts is off), so nothing shows whether "
            f"rows are changed after they were verified. On the target, run: {'; '.join(statements)}; then run again.",
            "not_counted",
        )


def check_unchanged(settings: ConnectionSettings, stored: Verified) -> None:
    """Raise MigrationError ``changed_since_verified`` when something may have changed in the database since it was verified.

    Raises ``not_counted`` when the server's counts can't show that.
    """
    check_counted(settings)
    parts = changed_since(settings, stored)
    if parts:
        more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
        raise MigrationError(
            f"The database {settings.database!r} was changed since it was verified at {stored['at']}: {', '.join(parts[:3])}{more}. "
            "It was not promoted. Run the same command again: it is verified again.",
            "changed_since_verified",
            changed=parts,
        )
