# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log in a file. A position is an offset. When the file was rotated or truncated since then, the rest of the old file is read, too."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO, Iterator

from ...common.byte_lines import CHUNK, LINE_LIMIT, Lines
from ...common.errors import MigrationError
from .position import LogSource, Position, check

FINGERPRINT_BYTES = 256
_COMPRESSED = (".gz", ".xz", ".zst", ".bz2")


class FileLog(LogSource):
    """The file that contains couch2pg's output."""

    kind = "file"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def position(self) -> Position:
        """The end of the last complete line; the start, when there is no file yet."""
        try:
            with _open(self._path) as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - LINE_LIMIT))
                tail = file.read(LINE_LIMIT)
                unfinished = len(tail) - tail.rfind(b"\n") - 1
                return self._at(file, size - unfinished)
        except FileNotFoundError:
            return self._nowhere()

    def lines(self, since: Position | None) -> Iterator[bytes]:
        """The lines. Raises MigrationError ``log_missing`` when the file doesn't exist."""
        start = check(since, self._nowhere()) if since else self._nowhere()
        try:
            with _open(self._path) as file:
                offset = start["offset"]
                if offset and not _is_at(file, start, same_file=True):
                    offset = 0
                    yield from self._rest_of_the_old(start)
                elif start["inode"] and start["inode"] != os.fstat(file.fileno()).st_ino:
                    yield from self._rest_of_the_old(start)
                end = os.fstat(file.fileno()).st_size
                lines = Lines(_chunks(file, offset, end))
                yield from lines
                self.after = self._at(file, end - lines.unfinished)
        except FileNotFoundError as error:
            raise MigrationError(
                f"There is no log {self._path} on this host. Correct the path (couch2pg_app: {{log: {{kind: file, path: PATH}}}}). If "
                "couch2pg was just started, wait for its first line.",
                "log_missing",
                path=str(self._path),
            ) from error

    def _rest_of_the_old(self, start: Position) -> Iterator[bytes]:
        """The lines after the position, in files that were moved away, or copied before the file was emptied."""
        later = sorted(self._siblings(), key=lambda path: path.stat().st_mtime_ns)
        offset = start["offset"]
        while later and not _holds(later[0], start):
            later.pop(0)
        if not later:
            self.notices.append(
                f"{self._path} was truncated or rotated since the position, and the lines before that were not found."
            )
        for path in later:
            if path.name.endswith(_COMPRESSED):
                self.notices.append(f"{path} is compressed, and was not read.")
                continue
            self.notices.append(f"{self._path} was rotated since the position; {path} was read as well.")
            with _open(path) as file:
                yield from Lines(_chunks(file, offset, os.fstat(file.fileno()).st_size), unfinished_too=True)
            offset = 0

    def _siblings(self) -> list[Path]:
        starts = (f"{self._path.name}.", f"{self._path.name}-")
        return [path for path in self._path.parent.iterdir() if path.name.startswith(starts) and path.is_file()]

    def _nowhere(self) -> Position:
        return {"kind": self.kind, "path": str(self._path), "inode": 0, "offset": 0, "before": ""}

    def _at(self, file: BinaryIO, offset: int) -> Position:
        inode = os.fstat(file.fileno()).st_ino
        return {**self._nowhere(), "inode": inode, "offset": offset, "before": _fingerprint(file, offset)}


def _open(path: Path) -> BinaryIO:
    try:
        # Opening a named pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise MigrationError(
                f"{path} is not a file. Give the path of couch2pg's log file.", "log_unreadable", path=str(path)
            )
        return os.fdopen(descriptor, "rb")
    except (PermissionError, NotADirectoryError) as error:
        raise MigrationError(
            f"The log {path} can't be read: {error.strerror}. Become a user who may read it, or correct the path.",
            "log_unreadable",
            path=str(path),
        ) from error


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """The bytes from ``start`` to ``end``. Later bytes are left for the next call."""
    file.seek(start)
    while start < end:
        chunk = file.read(min(CHUNK, end - start))
        if not chunk:
            return
        start += len(chunk)
        yield chunk


def _holds(path: Path, position: Position) -> bool:
    if path.name.endswith(_COMPRESSED):
        return False
    with _open(path) as file:
        return _is_at(file, position)


def _is_at(file: BinaryIO, position: Position, same_file: bool = False) -> bool:
    """Whether the position belongs to this file, by its inode; for a copy, by the bytes before the position."""
    status = os.fstat(file.fileno())
    known = status.st_ino == position["inode"]
    if not known and (same_file or not position["offset"]):
        return False
    offset = int(position["offset"])
    return status.st_size >= offset and _fingerprint(file, offset) == position["before"]


def _fingerprint(file: BinaryIO, offset: int) -> str:
    """A hash of the bytes before ``offset``, because inodes are reused, and an emptied file grows again."""
    file.seek(max(0, offset - FINGERPRINT_BYTES))
    return hashlib.sha256(file.read(min(offset, FINGERPRINT_BYTES))).hexdigest()[:16] if offset else ""
