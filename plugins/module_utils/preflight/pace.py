# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast one process reads rows on the source, loads documents on the target, and how fast the line between them is.

Each is measured with a short sample.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from typing import Any, Callable, Mapping

from ..common.errors import MigrationError
from ..gate.line import bytes_per_second_to
from ..postgres.connection import ConnectionSettings
from ..postgres.relations import Table
from ..postgres.session import Session

# The most bytes of a sample: of a table on disk, which is read, and of text, which is loaded.
SAMPLE_BYTES = 32 * 1024 * 1024
LOADED_BYTES = 8 * 1024 * 1024
SAMPLE_SECONDS = 5
UNKNOWN_ROWS = 20_000
# With less text than this, a sample would measure only the overhead of the statement.
ENOUGH_BYTES = 64 * 1024


def reading(session: Session, tables: list[Table], clock: Callable[[], float] = time.monotonic) -> int:
    """Bytes of text in a second that COPY reads from the largest of ``tables``, which are sorted by size; 0 when unknown."""
    table = next((table for table in tables if table.readable and table.table_bytes), None)
    if table is None:
        return 0
    # A table that was never analyzed has no estimate.
    known = table.estimated_rows if table.estimated_rows > 0 else UNKNOWN_ROWS
    rows = max(1, int(known * min(1.0, SAMPLE_BYTES / table.table_bytes)))
    seen = 0

    def count(data: bytes) -> None:
        nonlocal seen
        seen += len(data)

    session.execute(f"SET statement_timeout = '{SAMPLE_SECONDS}s'")
    begun = clock()
    try:
        session.copy_out(f"COPY (SELECT * FROM ONLY {table.sql} LIMIT {rows}) TO STDOUT", count)
    except MigrationError as error:
        # What came before the time limit counts as well.
        if error.code != "sql":
            raise
    finally:
        passed = clock() - begun
        session.execute("SET statement_timeout = 0")
    return _rate(seen, passed)


def loading(session: Session, clock: Callable[[], float] = time.monotonic) -> int:
    """Bytes of text in a second that COPY loads into a table of documents, which never becomes visible; 0 when unknown."""
    lines = "".join(f"{json.dumps(_document(number))}\n" for number in range(1000))
    text = (lines * (LOADED_BYTES // len(lines))).encode()
    session.execute("BEGIN")
    try:
        session.execute(f"SET LOCAL statement_timeout = '{SAMPLE_SECONDS}s'")
        session.execute("CREATE TEMPORARY TABLE couch2pg_sample (doc jsonb) ON COMMIT DROP")
        begun = clock()
        session.copy_in("COPY pg_temp.couch2pg_sample FROM STDIN", io.BytesIO(text))
        return _rate(len(text), clock() - begun)
    except MigrationError as error:
        if error.code != "sql":
            raise
        return 0
    finally:
        session.execute("ROLLBACK")


def line(server: Mapping[str, Any] | None) -> tuple[int, str]:
    """Bytes in a second from the source's server to this host; 0 when unknown, and then why, as a clause of a sentence.

    server: the connection options with which this host may log in to it; None when it doesn't log in there, or not yet.
    """
    if server is None:
        return 0, "this host does not log in to the source's server before the migration"
    try:
        settings = ConnectionSettings.from_options(server)
        patience = {"connect_timeout": str(SAMPLE_SECONDS), **settings.connect_params}
        return int(bytes_per_second_to(replace(settings, connect_params=patience))), ""
    except MigrationError as error:
        return 0, error.message.split(". ")[0].rstrip(".")


def _rate(seen: int, seconds: float) -> int:
    return int(seen / seconds) if seen >= ENOUGH_BYTES and seconds > 0 else 0


def _document(number: int) -> dict[str, object]:
    """A report as CHT writes it: a few identifiers, and a form's fields, most of them short."""
    fields = {f"field_{place}": f"answer {number * place % 97}" for place in range(24)}
    return {
        "_id": f"{number:032x}",
        "_rev": f"3-{number * 7:032x}",
        "type": "data_record",
        "form": "pregnancy",
        "reported_date": 1_600_000_000_000 + number,
        "contact": {"_id": f"{number % 50:032x}", "parent": {"_id": f"{number % 9:032x}"}},
        "fields": fields,
    }
