# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An answer that points elsewhere: credentials go only to the server that they are for."""

from __future__ import annotations

import http.client
import urllib.request
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

PORTS = {"http": 80, "https": 443}


class OwnRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to another path of the same server; what points elsewhere stays the answer that it is.

    Another port, or no TLS any more, is elsewhere: urllib would send every header there.
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
        """The request that follows; None for none."""
        if _server(newurl) != _server(req.full_url):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def elsewhere(asked: str, status: int, headers: Any) -> str:
    """Which other server than that of ``asked`` an answer points to, as scheme, host and port; empty where to none."""
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
