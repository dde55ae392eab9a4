# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the rows of a large table from pg_dump's archive with several sessions at a time.

pg_restore loads a table in one session, on one processor. So for a large table it only unpacks the rows, whatever the archive's format
and compression, and several sessions load them piece by piece. A piece and its mark are written in one transaction, as in the method
stream.
"""

from __future__ import annotations

import io
import os
import re
import threading
from typing import BinaryIO, Callable, Iterator

from ..archive.messages import advised
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..common.parallel import run_together
from ..pipeline import marks
from ..postgres import loading
from ..postgres.connection import ConnectionSettings
from ..postgres.relations import Table, list_tables
from ..postgres.session import Session
from ..postgres.workers import run_in_sessions

# The rows of smaller tables take less time than the sessions would.
FROM_BYTES = 16 * 1024 * 1024
# Each session has one piece in its memory.
PIECE_BYTES = 4 * 1024 * 1024
READ_BYTES = 1024 * 1024
_END = b"\\.\n"


def choose(evidence: Evidence, jobs: int) -> list[str]:
    """The large tables (``schema.name``). None with one job, or with another encoding than UTF8, which pg_restore must convert."""
    if jobs == 1 or evidence["database"]["encoding"] != "UTF8":
        return []
    return [row["table"] for row in evidence["tables"] if row["bytes"] >= FROM_BYTES]


def find(incoming: ConnectionSettings, names: list[str], lines: list[str]) -> dict[str, tuple[Table, str]]:
    """For each of these tables: the target's table, and its line of the archive's list. Tables without exactly one line are left out."""
    found = {}
    with Session(incoming) as session:
        for table in list_tables(session).kept:
            if table.key in names:
                start = re.sub(r"[\r\n]", " ", f" TABLE DATA {table.schema} {table.name} ")
                matching = [line for line in lines if start in line]
                if len(matching) == 1:
                    found[table.key] = (table, matching[0])
    return found


def load(
    incoming: ConnectionSettings,
    table: Table,
    workers: int,
    unpack: Callable[[BinaryIO], None],
    on_piece: Callable[[int, int], None],
    stop: threading.Event,
) -> int:
    """Load the rows that are missing; returns how many the table has.

    unpack: writes pg_restore's script of the rows; on_piece: called with the bytes and rows of each piece (0 rows if it was complete).
    Raises MigrationError, also when the script ends too early.
    """
    reading, writing = os.pipe()
    script, unpacked = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
    with Session(incoming) as session:
        marks.prepare(session, list)

    def work() -> None:
        with unpacked:
            unpack(unpacked)

    def receive() -> None:
        try:
            statement = _statement(script, table)
            found, turn = pieces(script), threading.Lock()

            def load_pieces(session: Session, _worker: int) -> None:
                loading.apply(session)
                while not stop.is_set():
                    with turn:
                        number, piece = next(found, (-1, b""))
                    if number < 0:
                        return
                    on_piece(len(piece), _load_piece(session, f"{table.key}:{number}", statement, piece))

            run_in_sessions(range(workers), workers, lambda: Session(incoming), load_pieces, stop)
        finally:
            script.close()

    run_together(work, receive, stop, one_by_one=False)
    with Session(incoming) as session:
        return marks.rows_of(session, table.key)


def _statement(script: BinaryIO, table: Table) -> str:
    """The COPY statement, which is followed by the rows."""
    for line in script:
        if line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
            return line[: -len(b";\n")].decode("utf-8")
    raise _incomplete(table.key)


def pieces(script: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The rows of the script in pieces of whole lines, numbered from 0: the same ones each time, for the same archive."""
    number, size = 0, 0
    piece: list[bytes] = []
    line: list[bytes] = []
    while True:
        read = script.read(READ_BYTES)
        if not read:
            raise _incomplete("the table")
        cut = read.rfind(b"\n") + 1
        if not cut:
            line.append(read)
            continue
        block = b"".join([*line, read[:cut]])
        line = [read[cut:]]
        end = 0 if block.startswith(_END) else block.find(b"\n" + _END) + 1
        last = end > 0 or block.startswith(_END)
        piece.append(block[:end] if last else block)
        size += len(piece[-1])
        if last or size >= PIECE_BYTES:
            yield number, b"".join(piece)
            number, size, piece = number + 1, 0, []
        if last:
            # Read the comments that follow: pg_restore can only write them while something reads the pipe.
            while script.read(READ_BYTES):
                pass
            return


def _load_piece(session: Session, key: str, statement: str, piece: bytes) -> int:
    session.execute("BEGIN")
    if not marks.claim(session, key):
        session.execute("ROLLBACK")
        return 0
    try:
        rows = session.copy_in(statement, io.BytesIO(piece))
    except MigrationError as error:
        raise advised(error) from error
    marks.describe(session, key, rows, [])
    session.execute("COMMIT")
    return rows


def _incomplete(table: str) -> MigrationError:
    return MigrationError(
        f"pg_restore ended before it had unpacked all rows of {table}. Look at its messages in the job's log, then run again.",
        "archive_unreadable",
    )
