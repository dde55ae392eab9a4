# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a database in SQL_ASCII, which accepts any bytes, holds valid UTF-8 only, so that it can become a UTF8 database."""

from __future__ import annotations

from typing import Iterable

from ..common.errors import MigrationError
from ..postgres.connection import ConnectionSettings
from ..postgres.identifiers import literal
from ..postgres.relations import Table
from ..postgres.session import Session

# The SQLSTATE for bytes that are not valid in the client's encoding.
INVALID_BYTES = "22021"


def check_rows(settings: ConnectionSettings, tables: Iterable[Table]) -> int:
    """Read every row of ``tables``; returns their number.

    Raises MigrationError ``not_utf8`` that names the first row with bytes that are not UTF-8.
    """
    rows = 0
    with Session(settings) as session:
        # Read the rows in their physical order, so that a row can be found again by its number.
        session.execute("SET synchronize_seqscans = off")
        session.execute("SET max_parallel_workers_per_gather = 0")
        for table in tables:
            rows += _check(session, table)
    return rows


def _check(session: Session, table: Table) -> int:
    read = 0

    def count(_row: bytes) -> None:
        nonlocal read
        read += 1

    # The server checks what it sends to a client with another encoding than its own.
    session.execute("SET client_encoding = 'UTF8'")
    try:
        session.copy_out(f"COPY (SELECT * FROM ONLY {table.sql}) TO STDOUT", count)
    except MigrationError as error:
        if error.details.get("sqlstate") != INVALID_BYTES:
            raise
        row = session.value(f"SELECT ctid::pg_catalog.text FROM ONLY {table.sql} OFFSET {read} LIMIT 1")
        found = f"SELECT * FROM {table.sql} WHERE ctid = {literal(str(row))}"
        raise MigrationError(
            f"A row of {table.key} holds bytes that are not UTF-8 ({error.message.split(': ')[-1].rstrip('.')}). Correct "
            f"the row on the source ({found}), then run again.",
            "not_utf8",
            table=table.key,
            ctid=row,
        ) from error
    return read
