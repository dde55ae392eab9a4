# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that is told over HTTP where its database is, as an operator's own may be: by a token, one document a connection."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "token-0123456789abcdef0123456789"


class SettingsServer:
    """``settings``: what it was told last; ``allowed``: the Authorization of every request.

    ``deaf``: it says yes, and does nothing. ``moved_to``: it answers everybody that what they want is there.
    """

    def __init__(self, settings: dict[str, Any], certificate: Path | None = None, key: Path | None = None) -> None:
        self.settings = settings
        self.allowed: list[str] = []
        self.deaf = False
        self.moved_to = ""
        owner = self

        class Handler(_Handler):
            program = owner

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """The document."""
        return f"{self.address}/connections/cht"

    def __enter__(self) -> SettingsServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_ended: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    program: SettingsServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = self.headers.get("Authorization", "")
        self.program.allowed.append(said)
        if self.program.moved_to not in ("", self.path):
            self.send_response(302)
            self.send_header("Location", self.program.moved_to)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif said != f"Bearer {TOKEN}":
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
