# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row counts and digests of tables, taken at once inside one snapshot."""

from __future__ import annotations

import time
from typing import TypedDict

from ..common.clock import utc_now
from ..common.evidence_rows import DigestDocument
from ..postgres.connection import ConnectionSettings
from ..postgres.relations import select
from ..postgres.session import check_no_pooler, server_identity
from . import digest
from .snapshot import HeldSnapshot, open_reader


class TableDigests(TypedDict):
    """Tables with their rows and digests; ``rows`` in all. left_out: tables that are not read, each with the reason.

    meaning: of the digest method; taken_at: a time of ``clock.utc_now``; seconds: how long it took.
    """

    tables: list[DigestDocument]
    rows: int
    left_out: list[dict[str, str]]
    digest_method: str
    meaning: str
    server_identity: str
    database: str
    taken_at: str
    seconds: float


def take(settings: ConnectionSettings, names: list[str], method: str, jobs: int) -> TableDigests:
    """Rows and digest of each table that ``names`` choose (all when empty), inside one snapshot; times in seconds.

    Raises MigrationError for an unknown or unreadable table, a pooler, and a ``method`` that the server lacks.
    """
    started = time.monotonic()
    with HeldSnapshot(settings) as snapshot:
        check_no_pooler(snapshot.session)
        method = digest.choose_method(method, snapshot.session.version)
        tables = select(snapshot.tables.kept, names)
        taken_at = utc_now()
        found = digest.digest_tables(
            tables, method, jobs, lambda: open_reader(settings, snapshot.identifier), lambda _bytes, _table: None
        )
        snapshot.check_alive()
        identity = server_identity(snapshot.session)
        left_out = snapshot.tables.left_out
    return {
        "tables": sorted((entry.as_dict() for entry in found), key=lambda entry: str(entry["table"])),
        "rows": sum(entry.rows for entry in found),
        "left_out": left_out,
        "digest_method": method,
        "meaning": digest.METHODS[method],
        "server_identity": identity,
        "database": settings.database,
        "taken_at": taken_at,
        "seconds": round(time.monotonic() - started, 1),
    }
