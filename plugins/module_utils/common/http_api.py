# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody's JSON over HTTP: requests with their credentials, and what goes wrong in words that show none of them."""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import urlsplit

from .errors import MigrationError
from .redaction import Redactor
from .redirects import OwnRedirects, elsewhere

TIMEOUT_SECONDS = 60.0
# Of a server that asks us to slow down; what a day allows doesn't come back while we wait.
TRIES = 6
LONGEST_PAUSE = 10.0


class HttpApi:
    """``name`` is what people call the program behind ``url``; ``secrets`` are never shown, whoever repeats them.

    pause: seconds between two requests, for those that allow only so many a second.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        secrets: Sequence[str],
        ca_cert: str = "",
        pause: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MigrationError(
                f"The address of {name} is no URL: {Redactor(secrets)(url)!r}. Give it as https://host/path.", "api_url"
            )
        if "@" in parts.netloc:
            raise MigrationError(
                f"The address of {name} has a user in it. Give its credentials as headers or options, where they stay secret.",
                "api_url",
            )
        self.name = name
        self.url = url.rstrip("/")
        self.headers = {"Accept": "application/json", **headers}
        self._redact = Redactor(secrets)
        self._pause = pause
        self._sleep = sleep
        handlers: list[Any] = [urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), OwnRedirects]
        if ca_cert:
            try:
                handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_cert)))
            except (OSError, ssl.SSLError) as error:
                raise MigrationError(
                    f"The certificates in {ca_cert} can't be read: {error}. Name a file in PEM format on this host.",
                    "api_certificate",
                ) from error
        self._opener = urllib.request.build_opener(*handlers)

    @property
    def place(self) -> str:
        """Name and address, as they may be shown."""
        return f"{self.name} at {self._redact(self.url)}"

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that is answered; None for an empty answer.

        Raises MigrationError ``api_unauthorized``, ``api_missing``, ``api_moved``, ``api_refused`` or ``api_unreachable``.
        """
        text = self.send(method, path, None if body is None else json.dumps(body).encode(), headers)
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            raise MigrationError(
                f"What answers {method} {path} is not {self.place}: it says no JSON. Check the address, and what stands "
                "in front of it.",
                "api_stranger",
            ) from None

    def send(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str] | None = None) -> str:
        """The same for a body of any kind; returns the answer as text."""
        content = {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(
            self.url + path, data, {**self.headers, **content, **(headers or {})}, method=method
        )
        for attempt in range(1, TRIES + 1):
            self._sleep(self._pause)
            try:
                with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                    return str(response.read().decode(errors="replace"))
            except urllib.error.HTTPError as error:
                with error:
                    said = _words(error.read().decode(errors="replace"))
                there = elsewhere(request.full_url, error.code, error.headers)
                if there:
                    raise self._moved(method, path, error.code, there) from None
                if error.code != 429 or attempt == TRIES:
                    raise self._refused(method, path, error.code, said) from None
                asked = error.headers.get("Retry-After") or ""
                self._sleep(min(float(asked) if asked.isdigit() else float(attempt), LONGEST_PAUSE))
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                reason = getattr(error, "reason", error)
                raise MigrationError(
                    f"{self.place} can't be reached from this host: {reason}. Check its address, its certificate, and "
                    "the firewalls between.",
                    "api_unreachable",
                ) from None
        raise AssertionError("the last attempt either returns or raises")

    def _moved(self, method: str, path: str, status: int, there: str) -> MigrationError:
        return MigrationError(
            f"{self.place} answers {status} to {method} {self._redact(path.partition('?')[0])} and points to "
            f"{self._redact(there)}. Nothing was sent there: if it is the same program, give that address.",
            "api_moved",
            status=status,
        )

    def _refused(self, method: str, path: str, status: int, said: str) -> MigrationError:
        words = self._redact(said).rstrip(".")
        answered = f"{self.place} answers {status} to {method} {self._redact(path.partition('?')[0])}"
        answered += f": {words}." if words else "."
        if status in (401, 403):
            return MigrationError(
                f"{answered} Check the credentials, and that they may read and change data sources.",
                "api_unauthorized",
                status=status,
            )
        if status == 404:
            return MigrationError(f"{answered} Check the address.", "api_missing", status=status)
        return MigrationError(answered, "api_refused", status=status, said=words)


def _words(body: str) -> str:
    """What an error says, wherever the program puts it."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(found, dict):
        return ""
    meta, errors = found.get("meta"), found.get("errors")
    if isinstance(meta, dict):
        return str(meta.get("error_desc") or meta.get("error_code") or "")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("message") or "")
    return str(found.get("message") or found.get("msg") or "")
