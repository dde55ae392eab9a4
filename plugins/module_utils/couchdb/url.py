# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""COUCHDB_URL as couch2pg takes it: which databases it follows, and under which key it remembers its place in each.

couch2pg appends to the URL as text, and its key is host[:port]/path[?query] as written: what looks like the same URL to
a person may be another place, from which everything would be downloaded again.
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
# The variable that switches a database off, what is appended to the URL, and the table that its documents go to.
_FOLLOWED = (
    ("SYNC_DB_MEDIC", "", "couchdb"),
    ("SYNC_DB_SENTINEL", "-sentinel", "couchdb"),
    ("SYNC_DB_USER_META", "-users-meta", "couchdb_users_meta"),
    ("SYNC_DB_LOGS", "-logs", "couchdb_medic_logs"),
)
_USERS = ("SYNC_DB_USERS", "/_users", "couchdb_medic_users")


@dataclass(frozen=True)
class Followed:
    """A database of CouchDB that couch2pg follows; ``key`` is its row in couchdb_progress."""

    database: str
    key: str
    table: str
    switch: str


@dataclass(frozen=True)
class CouchdbUrl:
    """COUCHDB_URL, taken apart. ``host`` is as in the key: in lower case, with the port where one is written."""

    scheme: str
    host: str
    path: str
    query: str
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def server(self) -> str:
        """Where CouchDB is, without credentials."""
        return f"{self.scheme}://{self.host}"

    @property
    def key(self) -> str:
        """The key of the database that the URL itself leads to."""
        return f"{self.host}{self.path}{self.query}"

    @property
    def problems(self) -> list[str]:
        """What makes this URL another place than it looks like, each with what to do."""
        found = []
        if self.path in ("", "/"):
            found.append("It names no database: append its name, such as /medic.")
        elif self.path.endswith("/"):
            found.append("It ends with a slash, which is part of the key and breaks the names of the other databases.")
        if self.query:
            found.append("It has a query string, which is part of the key and breaks the names of the other databases.")
        return found

    def followed(self, variables: Mapping[str, str]) -> list[Followed]:
        """The databases that couch2pg follows with these settings: all that aren't switched off by ``false``."""
        entries = [
            Followed(_name(self.path + self.query + suffix), self.key + suffix, table, switch)
            for switch, suffix, table in _FOLLOWED
        ]
        switch, path, table = _USERS
        entries.append(Followed(_name(path), self.host + path, table, switch))
        return [entry for entry in entries if variables.get(entry.switch, "true").strip().lower() != "false"]


def parse(text: str) -> CouchdbUrl:
    """Take a COUCHDB_URL apart.

    Raises MigrationError ``couchdb_url``, which shows nothing of the credentials.
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
    """The integer in front of a sequence; what follows it is another one at every request.

    Raises MigrationError ``couchdb_seq`` when there is none.
    """
    text = str(seq)
    number = text.split("-", 1)[0]
    if not number.isdigit():
        raise MigrationError(f"{text!r} is not a sequence of CouchDB.", "couchdb_seq")
    return int(number)


def _name(path: str) -> str:
    return unquote(path.lstrip("/"))
