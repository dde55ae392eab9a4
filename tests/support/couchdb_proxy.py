# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands before CouchDB in the field: TLS, sequences with an opaque part that differs each time, and failures."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import certificate
from .couchdb import USER, CouchDB
from .ports import free_port

SEQUENCES = ("seq", "last_seq", "update_seq")
# They belong to one connection, not to what is carried.
HOP = {"connection", "transfer-encoding", "content-length", "host", "accept-encoding"}


class Proxy:
    """In front of ``couchdb`` on ``port``, over TLS when ``tls`` is set; ``fails_with`` is a status that it answers instead.

    signed: ``certificate`` has the two authorities above its certificate, which it does not send.
    """

    def __init__(self, couchdb: CouchDB, folder: Path, tls: bool = True, signed: bool = False) -> None:
        self.couchdb = couchdb
        self.port = free_port()
        self.tls = tls
        self.certificate = folder / "authority.pem"
        self._own = folder / "own.pem" if signed else self.certificate
        self._key = folder / "key.pem"
        self.fails_with: int | None = None
        self.requests: list[str] = []
        self._server: ThreadingHTTPServer | None = None

    def url(self, database: str = "medic") -> str:
        """COUCHDB_URL that leads here."""
        return self.couchdb.url(database, "https" if self.tls else "http", self.port)

    def __enter__(self) -> Proxy:
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", self.port), Handler)
        if self.tls:
            if self._own == self.certificate:
                certificate.make(self._own, self._key)
            else:
                certificate.make_signed(self.certificate, self._own, self._key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._own, self._key)
            # The connection's own thread handles a client that doesn't trust the certificate.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    owner: Proxy
    protocol_version = "HTTP/1.1"

    def _carry(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.owner.requests.append(f"{self.command} {self.path}")
        if self.owner.fails_with is not None:
            self._answer(self.owner.fails_with, json.dumps({"error": "test", "reason": "as the test wants"}).encode())
            return
        if self.command == "PUT" and "/" not in self.path.strip("/") and not self._is_administrator():
            # pouchdb-server ends here; CouchDB's answer is known.
            self._answer(401, b'{"error": "unauthorized", "reason": "You are not a server admin."}')
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.owner.couchdb.port, timeout=60)
        try:
            path = re.sub(r"([?&]since=)(\d+)-[^&]*", r"\1\2", self.path)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            connection.request(self.command, path, body or None, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        with contextlib.suppress(ValueError):
            answer_of_couchdb = opaque(json.loads(text))
            interval = re.search(r"[?&]seq_interval=(\d+)", self.path)
            if interval:
                skip_sequences(answer_of_couchdb["results"], int(interval.group(1)))
            text = json.dumps(answer_of_couchdb).encode()
        status = answer.status
        if status == 401 and b"not authorized to access" in text:
            # CouchDB 2 and later know the user, who is no member.
            status, text = 403, b'{"error": "forbidden", "reason": "You are not allowed to access this db."}'
        self._answer(status, text)

    def _is_administrator(self) -> bool:
        credentials = base64.b64decode((self.headers["Authorization"] or "").partition(" ")[2]).decode()
        return credentials.startswith(f"{USER}:")

    def _answer(self, status: int, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if self.close_connection:
            # Otherwise a client would keep using a connection that ends at this moment.
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _carry  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the requests are kept."""


def skip_sequences(results: list[dict[str, Any]], interval: int) -> None:
    """As CouchDB 2 and later do: only every so many changes have a sequence."""
    for number, change in enumerate(results, start=1):
        if number % interval:
            change["seq"] = None


def opaque(answer: Any) -> Any:
    """The answer with every sequence as CouchDB 2 and later have it."""
    if isinstance(answer, list):
        return [opaque(part) for part in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        name: f"{value}-g1AAAA{secrets.token_urlsafe(60)}"
        if name in SEQUENCES and isinstance(value, int)
        else opaque(value)
        for name, value in answer.items()
    }
