# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Klipfolio, as far as its documentation describes its data sources: what it answers, and what it refuses.

It is a service that nobody can install. A refresh of this one really logs in to PostgreSQL with the properties.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg2

from .ports import free_port

KEY = "kf-0123456789abcdef0123456789abcdef01234567"
REQUESTS_A_SECOND = 5
# The properties that this connector has.
KNOWN = {"host", "port", "database", "user", "password", "query"}


class Klipfolio:
    """``sources``: name and properties of each data source, by its id. ``fails_on``: ids whose PUT is answered with 500."""

    def __init__(self) -> None:
        self.port = free_port()
        self.sources: dict[str, dict[str, Any]] = {}
        self.fails_on: set[str] = set()
        self.requests: list[str] = []
        self.too_many = 0
        self._recent: deque[float] = deque()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}/api/1.0"

    def add(self, number: int, name: str, **properties: Any) -> str:
        """A data source; returns its id."""
        key = f"{number:032x}"
        self.sources[key] = {"name": name, "properties": properties, "failures": 0, "at": "2026-01-01T00:00:00Z"}
        return key

    def properties(self, key: str) -> dict[str, Any]:
        """What a data source has now."""
        found: dict[str, Any] = self.sources[key]["properties"]
        return found

    def __enter__(self) -> Klipfolio:
        klipfolio = self

        class Handler(_Handler):
            owner = klipfolio

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_ended: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, key: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and JSON for a request."""
        with self._lock:
            now = time.monotonic()
            while self._recent and self._recent[0] < now - 1:
                self._recent.popleft()
            if len(self._recent) >= REQUESTS_A_SECOND:
                self.too_many += 1
                return _refusal(429, "too_many_requests", "Too Many Requests")
            self._recent.append(now)
            self.requests.append(f"{method} {path}")
            if key != KEY:
                return _refusal(401, "auth_invalid", f"The API key {key} is not valid")
            return self._route(method, path, body)

    def _route(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if method == "GET" and path.startswith("/api/1.0/datasources?"):
            return self._list(dict(pair.split("=") for pair in path.partition("?")[2].split("&")))
        found = re.fullmatch(r"/api/1.0/(datasources|datasource-instances)/([^/]+)(/properties|/@/refresh|)", path)
        if not found or found[2] not in self.sources:
            return _refusal(404, "not_found", "Data source not found")
        source = self.sources[found[2]]
        asked = (method, found[1], found[3])
        if asked == ("GET", "datasource-instances", ""):
            answer = _data({"refresh_fail_count": source["failures"], "date_last_refresh": source["at"]})
        elif asked == ("GET", "datasources", "/properties"):
            shown = {name: value for name, value in source["properties"].items() if name != "password"}
            answer = _data({"properties": shown or "The response here depends on the datasource type"})
        elif asked == ("POST", "datasources", "/@/refresh"):
            # It is done later, as the real one does.
            threading.Timer(0.3, self._refresh, [source]).start()
            answer = _data({"op_requested": "refresh"})
        elif asked == ("PUT", "datasources", "/properties"):
            answer = self._change(found[2], source, json.loads(body))
        else:
            answer = _refusal(405, "method_not_allowed", "Method not allowed")
        return answer

    def _list(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", 100)), 100)
        rows = [{"id": key, "name": source["name"]} for key, source in self.sources.items()][offset : offset + limit]
        status, answer = _data({"datasources": rows})
        answer["meta"].update(count=len(rows), total=len(self.sources))
        return status, answer

    def _change(self, key: str, source: dict[str, Any], body: Any) -> tuple[int, dict[str, Any]]:
        if key in self.fails_on:
            return _refusal(500, "internal", f"It failed with {body['properties'].get('password')}")
        unknown = set(body.get("properties") or {"": None}) - KNOWN
        if unknown:
            return _refusal(400, "bad_request", f"Unknown property {', '.join(sorted(unknown))}")
        source["properties"].update(body["properties"])
        return 200, {"meta": {"status": 200, "success": True}}

    def _refresh(self, source: dict[str, Any]) -> None:
        found = source["properties"]
        names = {"host": "host", "port": "port", "dbname": "database", "user": "user", "password": "password"}
        try:
            psycopg2.connect(**{ours: found[theirs] for ours, theirs in names.items()}).close()
        except psycopg2.OperationalError:
            source["failures"] += 1
        else:
            source.update(failures=0, at=f"2026-01-01T00:00:{int(source['at'][17:19]) + 1:02d}Z")


class _Handler(BaseHTTPRequestHandler):
    owner: Klipfolio

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.owner.answer(self.command, self.path, self.headers.get("kf-api-key", ""), body)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = _answer  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


def _data(data: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return 200, {"data": data, "meta": {"status": 200, "success": True}}


def _refusal(status: int, code: str, words: str) -> tuple[int, dict[str, Any]]:
    return status, {"meta": {"success": False, "status": status, "error_code": code, "error_desc": words}}
