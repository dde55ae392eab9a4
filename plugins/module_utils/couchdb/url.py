# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse COUCHDB_URL as couch2pg does: the databases that it follows, and the key of each in ``couchdb_progress``.

couch2pg appends suffixes to the URL as text, and the key is host[:port]/path[?query] exactly as written. A URL that is
equivalent but written differently has another key, and couch2pg would download all documents again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Mapping
from urllib.parse import unquote

from ..common.errors import MigrationError

_URL = re.compile(r"^(https?)://(?:([^/?#@]*)@)?([^/?#@]+)(/[^?#]*)?(\?[^#]*)?(#.*)?$", re.IGNORECASE)
_HOST = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?$")
_NOT_ONE = (
    "COUCHDB_URL is not a URL that couch2pg could use: it must look like https://user:password@host:port/medic. "
    "Percent-encode special characters of user and password (@ is %40, / is %2F, # is %23)."
)
# The variable that switches a database off, the suffix that is appended to the URL, the table of its documents.
_FOLLOWED = (
    ("SYNC_DB_MEDIC", "", "couchdb"),
    ("SYNC_DB_SENTINEL", "-sentinel", "couchdb"),
    ("SYNC_DB_USER_META", "-users-meta", "couchdb_users_meta"),
    ("SYNC_DB_LOGS", "-logs", "couchdb_medic_logs"),
)
_USERS = ("SYNC_DB_USERS", "/_users", "couchdb_medic_users")


@dataclass(frozen=True)
class Followed:
    """A CouchDB database that couch2pg follows.

    key: its row in ``couchdb_progress``; table: the table of its documents; switch: the variable that switches it off.
    """

    database: str
    key: str
    table: str
    switch: str


@dataclass(frozen=True)
class CouchdbUrl:
    """The parts of COUCHDB_URL. ``host`` is spelled as in the key: lower case, with the port if the URL has one."""

    scheme: str
    host: str
    path: str
    query: str
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def server(self) -> str:
        """Scheme, host and port, without credentials."""
        return f"{self.scheme}://{self.host}"

    @property
    def key(self) -> str:
        """The key of the database that the URL itself names."""
        return f"{self.host}{self.path}{self.query}"

    @property
    def problems(self) -> list[str]:
        """Reasons why couch2pg would use another key or database than intended, as sentences."""
        found = []
        if self.path in ("", "/"):
            found.append("It contains no database name: append it, such as /medic.")
        elif self.path.endswith("/"):
            found.append("It ends with a slash, which is part of the key and breaks the names of the other databases.")
        if self.query:
            found.append("It has a query string, which is part of the key and breaks the names of the other databases.")
        return found

    def followed(self, variables: Mapping[str, str]) -> list[Followed]:
        """The databases that couch2pg follows: all whose switch in ``variables`` isn't ``false``."""
        entries = [
            Followed(_name(self.path + self.query + suffix), self.key + suffix, table, switch)
            for switch, suffix, table in _FOLLOWED
        ]
        switch, path, table = _USERS
        entries.append(Followed(_name(path), self.host + path, table, switch))
        return [entry for entry in entries if variables.get(entry.switch, "true").strip().lower() != "false"]


def parse(text: str) -> CouchdbUrl:
    """Parse a COUCHDB_URL.

    Raises MigrationError ``couchdb_url``, whose message contains no credentials.
    """
    url = _URL.match(text.strip())
    host = _HOST.match(url.group(3)) if url else None
    if url is None or host is None or url.group(6) or int(host.group(2) or 0) > 65535:
        raise MigrationError(_NOT_ONE, "couchdb_url")
    user, _colon, password = (url.group(2) or "").partition(":")
    return CouchdbUrl(
        url.group(1).lower(),
        url.group(3).lower(),
        url.group(4) or "/",
        url.group(5) or "",
        unquote(user),
        unquote(password),
    )


def seq_number(seq: object) -> int:
    """The number at the start of a CouchDB sequence; the rest differs between requests.

    Raises MigrationError ``couchdb_seq`` when there is no number.
    """
    text = str(seq)
    number = text.split("-", 1)[0]
    if not number.isdigit():
        raise MigrationError(f"{text!r} is not a CouchDB sequence, which starts with a number.", "couchdb_seq")
    return int(number)


def _name(path: str) -> str:
    return unquote(path.lstrip("/"))
