# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Unix socket that leads to another one, with an owner and a mode of its own."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from pathlib import Path
from typing import Iterator


@contextlib.contextmanager
def relay(place: Path, goal: str) -> Iterator[None]:
    """As long as the block lasts, a client that connects to ``place`` reaches ``goal``."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(goal)
                back = threading.Thread(target=_copy, args=(other, self.request))
                back.start()
                _copy(self.request, other)
                back.join()

    with socketserver.ThreadingUnixStreamServer(str(place), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            place.unlink()


def _copy(source: socket.socket, goal: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            goal.sendall(data)
    with contextlib.suppress(OSError):
        goal.shutdown(socket.SHUT_WR)
