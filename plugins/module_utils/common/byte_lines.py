# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines out of a stream of bytes, in constant memory: what is too long of a line is dropped."""

from __future__ import annotations

from typing import Iterable, Iterator

CHUNK = 1 << 17
LINE_LIMIT = 1 << 16


class Lines:
    """The lines of ``chunks``, without their ends and with at most LINE_LIMIT bytes of each.

    A last line without an end is still being written: it is given only with ``unfinished_too``. After the iteration,
    ``unfinished`` tells how many bytes it has. Chunks should be no longer than CHUNK.
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
