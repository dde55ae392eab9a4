# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CouchDB, only read: does it answer, does a database exist, how far is it, which revisions has it."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from typing import Any, Sequence
from urllib.parse import quote

from .couchdb_url import CouchdbUrl
from .errors import MigrationError

TIMEOUT_SECONDS = 30.0


def seq_number(seq: object) -> int:
    """The integer in front of a sequence; what follows it is another one at every request.

    Raises MigrationError ``couchdb_seq`` when there is none.
    """
    text = str(seq)
    number = text.split("-", 1)[0]
    if not number.isdigit():
        raise MigrationError(f"{text!r} is not a sequence of CouchDB.", "couchdb_seq")
    return int(number)


class CouchDB:
    """A server that is asked, with the credentials of ``url``. It is never written to: POST only carries questions.

    ca_cert: a file with the certificates that are trusted beside the system's.
    """

    def __init__(self, url: CouchdbUrl, ca_cert: str = "", timeout: float = TIMEOUT_SECONDS) -> None:
        self._url = url
        self._timeout = timeout
        self._context = ssl.create_default_context()
        if ca_cert:
            self._context.load_verify_locations(ca_cert)

    def exists(self, database: str) -> bool:
        """Whether there is such a database; one that is missing is never made."""
        return self._ask(f"/{_quoted(database)}", missing=None) is not None

    def update_seq(self, database: str) -> int:
        """The high-water mark: the number of the newest change.

        Raises MigrationError ``couchdb_no_database`` when the database doesn't exist.
        """
        return seq_number(self._ask(f"/{_quoted(database)}")["update_seq"])

    def documents(self, database: str) -> int:
        """How many documents there are, without deleted ones."""
        return int(self._ask(f"/{_quoted(database)}")["doc_count"])

    def revisions(self, database: str, ids: Sequence[str]) -> dict[str, str | None]:
        """The current revision of each document; None for one that is deleted or was never there."""
        answer = self._ask(f"/{_quoted(database)}/_all_docs", {"keys": list(ids)})
        found: dict[str, str | None] = dict.fromkeys(ids)
        for row in answer["rows"]:
            value = row.get("value") or {}
            if "id" in row and not value.get("deleted"):
                found[row["id"]] = value.get("rev")
        return found

    def _ask(self, path: str, question: object = None, missing: Any = MigrationError) -> Any:
        headers = {"Accept": "application/json"}
        if self._url.user:
            credentials = f"{self._url.user}:{self._url.password}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(credentials).decode()
        data = None
        if question is not None:
            data = json.dumps(question).encode()
            headers["Content-Type"] = "application/json"
        # The scheme was checked when the URL was parsed.
        request = urllib.request.Request(self._url.server + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout, context=self._context) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404 and missing is not MigrationError:
                return missing
            raise self._refused(error.code, path) from None
        except (urllib.error.URLError, OSError) as error:
            raise self._unreachable(getattr(error, "reason", error)) from None
        except ValueError:
            raise MigrationError(
                f"What answers at {self._url.server} is not CouchDB. Check COUCHDB_URL, and what stands in front of it.",
                "couchdb_stranger",
            ) from None

    def _refused(self, status: int, path: str) -> MigrationError:
        database = path.split("/")[1]
        if status in (401, 403):
            return MigrationError(
                f"CouchDB at {self._url.server} refuses the user {self._url.user!r} ({status}). "
                "Check user and password in COUCHDB_URL; special characters must be percent-encoded.",
                "couchdb_unauthorized",
            )
        if status == 404:
            return MigrationError(
                f"CouchDB at {self._url.server} has no database {database!r}. Check the name in COUCHDB_URL: couch2pg "
                "would create it, and find it empty.",
                "couchdb_no_database",
                database=database,
            )
        return MigrationError(
            f"CouchDB at {self._url.server} answers {status}. See its log, and that of what stands in front of it.",
            "couchdb_error",
            status=status,
        )

    def _unreachable(self, reason: object) -> MigrationError:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return MigrationError(
                f"The certificate of CouchDB at {self._url.server} is not trusted on this host: {reason.verify_message}. "
                "Install the certificate of its authority here.",
                "couchdb_certificate",
            )
        return MigrationError(
            f"CouchDB at {self._url.server} can't be reached from this host: {reason}. "
            "Check its name, port, and the firewalls between.",
            "couchdb_unreachable",
        )


def _quoted(database: str) -> str:
    return quote(database, safe="")
