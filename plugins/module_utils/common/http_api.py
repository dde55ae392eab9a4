# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client for JSON APIs over HTTP. Its error messages never show credentials.

Only the cutover uses it, for dashboards, and so its messages name variables of the cutover.
"""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import shlex
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import urlsplit

from .errors import MigrationError
from .redaction import Redactor
from .redirects import SameServerRedirects, redirect_target

TIMEOUT_SECONDS = 60.0
# Attempts when the server limits the rate (429). A daily quota is not restored by waiting this long.
TRIES = 6
LONGEST_PAUSE = 10.0
# The Ansible variable that holds the operator's own steps of a cutover.
STEPS = "couch2pg_cutover_steps"
# OpenSSL's codes for a certificate whose authority this host doesn't trust.
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)


class HttpApi:
    """A connection to one API.

    name: the product name of the program at ``url``, for messages.
    secrets: removed from every message, including text that the server returns.
    ca_cert: a PEM file with the certificates to trust; empty for the system's.
    pause: seconds to wait before each request, for APIs that limit requests per second.
    setting: the variable with the address and the credentials, for messages.
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
        setting: str = STEPS,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MigrationError(
                f"The address of {name} is not a URL: {Redactor(secrets)(url)!r}. Write it as https://host/path.",
                "api_url",
            )
        if "@" in parts.netloc:
            raise MigrationError(
                f"The address of {name} contains a user name. Pass the credentials as headers or options, where they stay secret.",
                "api_url",
            )
        self.name = name
        self.setting = setting
        self.url = url.rstrip("/")
        self.headers = {"Accept": "application/json", **headers}
        self._redact = Redactor(secrets)
        self._pause = pause
        self._sleep = sleep
        handlers: list[Any] = [urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), SameServerRedirects]
        if ca_cert:
            try:
                handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_cert)))
            except (OSError, ssl.SSLError) as error:
                raise MigrationError(
                    f"The certificates in {ca_cert} can't be read: {error}. Set the path of a PEM file on this host.",
                    "api_certificate",
                ) from error
        self._opener = urllib.request.build_opener(*handlers)

    @property
    def label(self) -> str:
        """Name and address for messages, without secrets."""
        return f"{self.name} at {self._redact(self.url)}"

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send ``body`` as JSON and return the parsed answer; None for an empty answer.

        Raises MigrationError ``api_unauthorized``, ``api_missing``, ``api_moved``, ``api_refused`` or ``api_unreachable``.
        """
        text = self.send(method, path, None if body is None else json.dumps(body).encode(), headers)
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            raise MigrationError(
                f"The answer of {self.label} to {method} {path} is not JSON. Correct the URL in {self.setting}, or the proxy in "
                "front of it.",
                "api_not_json",
            ) from None

    def send(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str] | None = None) -> str:
        """Send ``data`` as it is and return the answer as text; raises as ``ask`` does."""
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
                    message = _error_message(error.read().decode(errors="replace"))
                other_server = redirect_target(request.full_url, error.code, error.headers)
                if other_server:
                    raise self._moved(method, path, error.code, other_server) from None
                if error.code != 429 or attempt == TRIES:
                    raise self._refused(method, path, error.code, message) from None
                retry_after = error.headers.get("Retry-After") or ""
                self._sleep(min(float(retry_after) if retry_after.isdigit() else float(attempt), LONGEST_PAUSE))
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                reason = getattr(error, "reason", error)
                raise MigrationError(
                    f"{self.label} can't be reached from this host: {reason}. {self._way(reason)}", "api_unreachable"
                ) from None
        raise AssertionError("the last attempt either returns or raises")

    def _way(self, reason: object) -> str:
        """What to do when the server can't be reached."""
        if not isinstance(reason, ssl.SSLCertVerificationError):
            return (
                f"curl --head {shlex.quote(self._redact(self.url))} shows here whether it answers. Correct the URL in {self.setting}, or "
                "open the firewalls in between."
            )
        if reason.verify_code in _UNKNOWN_AUTHORITY:
            setting = f"http.ca_cert of this step in {STEPS}" if self.setting == STEPS else "couch2pg_cutover_ca_cert"
            return f"Store the certificate of the server's certificate authority in a PEM file on this host, and set {setting} to its path."
        return f"Correct the URL in {self.setting} to a name that the certificate has, or renew the certificate."

    def _moved(self, method: str, path: str, status: int, other_server: str) -> MigrationError:
        return MigrationError(
            f"{self.label} answers {status} to {method} {self._redact(path.partition('?')[0])} and redirects to "
            f"{self._redact(other_server)}. Nothing was sent there. If it is the same program, use that address.",
            "api_moved",
            status=status,
        )

    def _refused(self, method: str, path: str, status: int, message: str) -> MigrationError:
        reason = self._redact(message).rstrip(".")
        answered = f"{self.label} answers {status} to {method} {self._redact(path.partition('?')[0])}"
        answered += f": {reason}." if reason else "."
        if status in (401, 403):
            return MigrationError(
                f"{answered} Correct the credentials in {self.setting}, whose account must be allowed to read and change connections.",
                "api_unauthorized",
                status=status,
            )
        if status == 404:
            return MigrationError(f"{answered} Correct the URL in {self.setting}.", "api_missing", status=status)
        return MigrationError(answered, "api_refused", status=status, reason=reason)


def _error_message(body: str) -> str:
    """The message of an error answer. Klipfolio and Superset put it into different fields."""
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
