# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that is told over HTTP where its database is, as an operator's own may be: by a token, one document a connection."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "token-0123456789abcdef0123456789"


class SettingsServer:
    """``settings``: what it was told last. ``deaf``: it says yes, and does nothing."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.deaf = False
        owner = self

        class Handler(_Handler):
            program = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """The document."""
        return f"http://127.0.0.1:{self._server.server_port}/connections/cht"

    def __enter__(self) -> SettingsServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_ended: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    program: SettingsServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = self.headers.get("Authorization", "")
        if said != f"Bearer {TOKEN}":
            self._say(401, {"message": f"{said} is not allowed"})
        elif self.path != "/connections/cht":
            self._say(404, {"message": "no such connection"})
        else:
            if self.command == "PUT" and not self.program.deaf:
                self.program.settings = json.loads(body)
            self._say(200, self.program.settings)

    do_GET = do_PUT = _answer  # noqa: N815

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass
