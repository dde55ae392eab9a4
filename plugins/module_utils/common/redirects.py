# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP redirects that never send credentials to another server."""

from __future__ import annotations

import http.client
import urllib.request
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

PORTS = {"http": 80, "https": 443}


class SameServerRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to another path of the same server; a redirect to another server is returned as the answer.

    Another port or scheme counts as another server, because urllib would send all headers, credentials included, there.
    """

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> Any:
        """The next request; None to stop at this answer."""
        if _server(newurl) != _server(req.full_url):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def redirect_target(asked: str, status: int, headers: Any) -> str:
    """The other server (scheme, host and port) that the answer to URL ``asked`` redirects to; empty when there is none."""
    place = urljoin(asked, headers.get("Location") or "")
    if not 300 <= status < 400 or _server(place) == _server(asked):
        return ""
    return "{}://{}:{}".format(*_server(place))


def _server(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        port = None
    return parts.scheme, (parts.hostname or "").lower(), port
