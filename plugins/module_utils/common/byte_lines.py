# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Split a stream of bytes into lines in constant memory; lines are truncated at LINE_LIMIT bytes."""

from __future__ import annotations

from typing import Iterable, Iterator

CHUNK = 1 << 17
LINE_LIMIT = 1 << 16


class Lines:
    """Iterate over the lines of ``chunks``, without newlines, each truncated at LINE_LIMIT bytes.

    A last line without a newline is still being written: it is yielded only with ``unfinished_too``. After the iteration,
    ``unfinished`` is its length in bytes. Chunks should be no longer than CHUNK.
    """

    def __init__(self, chunks: Iterable[bytes], unfinished_too: bool = False) -> None:
        self._chunks = chunks
        self._unfinished_too = unfinished_too
        self.unfinished = 0

    def __iter__(self) -> Iterator[bytes]:
        start = b""
        for chunk in self._chunks:
            parts = chunk.split(b"\n")
            if len(start) < LINE_LIMIT:
                start += parts[0][: LINE_LIMIT - len(start)]
            if len(parts) == 1:
                self.unfinished += len(chunk)
                continue
            yield start
            for line in parts[1:-1]:
                yield line if len(line) <= LINE_LIMIT else line[:LINE_LIMIT]
            self.unfinished = len(parts[-1])
            start = parts[-1][:LINE_LIMIT]
        if self.unfinished and self._unfinished_too:
            yield start
