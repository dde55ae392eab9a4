# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that copies chunks: ``python -m ...pipeline.worker``, one pipeline from the source to the target.

Each worker is a process of its own, because Python's threads would wait for each other at every row. It reads JSON lines from
its standard input: first the two connections, with passwords, and the snapshot, then one chunk a line. It answers each chunk with
``{"chunk": key, "rows": ...}`` or ``{"error": {...}}``.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from contextlib import suppress
from typing import Mapping, TypedDict

from ..archive.messages import advised
from ..common.counted import counted
from ..common.errors import ErrorDocument, MigrationError
from ..evidence import digest
from ..evidence.snapshot import open_reader
from ..postgres import loading
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session
from . import marks
from .chunks import Chunk

PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031


class Setup(TypedDict):
    """The first line of standard input: the connections without their passwords, the passwords, and the snapshot of the source."""

    source: Mapping[str, object]
    source_password: str | None
    target: Mapping[str, object]
    target_password: str | None
    snapshot: str


class Answer(TypedDict, total=False):
    """A line of standard output: the key of a chunk and the number of its rows, or the error that ended the process."""

    chunk: str
    rows: int
    error: ErrorDocument


def main() -> int:
    """Copy chunks until standard input ends."""
    setup: Setup = json.loads(sys.stdin.readline())
    try:
        source = open_reader(ConnectionSettings.restored(setup["source"], setup["source_password"]), setup["snapshot"])
        target = Session(ConnectionSettings.restored(setup["target"], setup["target_password"]), lock_seconds=0)
        loading.apply(target)
        for line in sys.stdin:
            chunk = Chunk.from_json(line)
            _answer({"chunk": chunk.key, "rows": copy_chunk(source, target, chunk)})
    except MigrationError as error:
        _answer({"error": error.as_dict()})
        return 1
    return 0


def copy_chunk(source: Session, target: Session, chunk: Chunk) -> int:
    """Copy the rows of ``chunk`` and mark it, in one transaction of the target. Returns the number of rows; 0 if it was complete."""
    target.execute("BEGIN")
    if not marks.claim(target, chunk.key):
        target.execute("ROLLBACK")
        return 0
    pipe = _Pipe()
    try:
        sender = threading.Thread(target=pipe.fill, args=(source, chunk))
        sender.start()
        try:
            received = target.copy_in(chunk.copy_in, pipe)
        finally:
            pipe.stop_reading()
            sender.join()
        if pipe.failure is not None:
            raise pipe.failure
        marks.describe(target, chunk.key, received, pipe.sums)
        if received != pipe.sent:
            raise MigrationError(
                f"The source sent {counted(pipe.sent, 'row')} of {chunk.table}, and the target received {received}. Run again.",
                "rows_differ",
                table=chunk.table,
            )
        target.execute("COMMIT")
    except MigrationError as error:
        # After an error of the source, the target's COPY fails, too, with a less useful message. Raise the source's error.
        if pipe.failure is not None:
            raise pipe.failure from None
        raise advised(error) from error
    return received


class _Pipe:
    """A file for the target's COPY to read, filled by the source's COPY."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        fcntl.fcntl(writing, _F_SETPIPE_SZ, PIPE_BYTES)
        self._writer = os.fdopen(writing, "wb", buffering=PIPE_BYTES)
        self.failure: MigrationError | None = None
        self.sent = 0
        self.sums: list[int] = []

    def fill(self, source: Session, chunk: Chunk) -> None:
        """Write the rows of the source into the pipe. A failure is kept, and ``read`` raises it at the end of the pipe."""
        try:
            digest.start_sums(source, chunk.method)
            self.sent = source.copy_out(chunk.copy_out, self._writer.write)
            self.sums = digest.read_sums(source, chunk.method)
            self._writer.flush()
        except MigrationError as error:
            self.failure = error
        except OSError:
            # The reader has stopped, and reports the reason itself.
            self.failure = None
        finally:
            with suppress(OSError):
                self._writer.close()

    def read(self, size: int) -> bytes:
        """The next bytes. Raises the source's error, because an empty answer would look like the end of the rows."""
        found = os.read(self._reading, size)
        if not found and self.failure is not None:
            raise self.failure
        return found

    def stop_reading(self) -> None:
        """Close the reading end, so that the source's COPY doesn't wait forever for a reader."""
        os.close(self._reading)


def _answer(answer: Answer) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
