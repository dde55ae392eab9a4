# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CouchDB, only read: does it answer, is a database there, how far is it, which revisions has it."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Sequence
from urllib.parse import quote

from ..common.errors import MigrationError
from ..common.redirects import SameServerRedirects, redirect_target
from .url import CouchdbUrl, seq_number

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class DatabaseState:
    """The number of a database's newest change, and how many documents it has."""

    update_seq: int
    documents: int


class CouchDB:
    """A server that is asked with the credentials of ``url``. It is never written to: POST only carries questions.

    ca_cert: a file with certificates that are trusted beside the system's; verify: whether any is looked at.
    """

    def __init__(
        self, url: CouchdbUrl, ca_cert: str = "", verify: bool = True, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._url = url
        self._timeout = timeout
        context = ssl.create_default_context()
        if ca_cert:
            try:
                context.load_verify_locations(ca_cert)
            except (OSError, ssl.SSLError) as error:
                raise MigrationError(
                    f"The certificates in {ca_cert} can't be read: {error}. couch2pg's NODE_EXTRA_CA_CERTS must name a "
                    "file in PEM format on this host.",
                    "couchdb_certificate",
                    path=ca_cert,
                ) from error
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), SameServerRedirects)

    def update_seq(self, database: str) -> int:
        """The high-water mark: the number of the newest change.

        Raises MigrationError ``couchdb_no_database`` when the database isn't there; it is never made.
        """
        return seq_number(self._described(database)["update_seq"])

    def documents(self, database: str) -> int:
        """How many documents there are, without deleted ones."""
        return self.state(database).documents

    def state(self, database: str) -> DatabaseState:
        """Both of them. Raises MigrationError ``couchdb_no_database``."""
        found = self._described(database)
        return DatabaseState(seq_number(found["update_seq"]), int(found.get("doc_count", 0)))

    def quiet_since(self, database: str, seq: str) -> bool:
        """Whether nothing has changed since ``seq``, which is one that this server gave."""
        answer = self._ask(database, f"/_changes?limit=1&since={quote(seq, safe='')}")
        return not answer.get("results")

    def changed_since(self, database: str, seq: str, ids: Sequence[str]) -> set[str]:
        """Those of the documents that have changed, or were deleted, since ``seq``."""
        answer = self._ask(database, f"/_changes?filter=_doc_ids&since={quote(seq, safe='')}", {"doc_ids": list(ids)})
        # A server that knows no such filter answers with every change.
        return {row["id"] for row in answer.get("results", []) if "id" in row} & set(ids)

    def revisions(self, database: str, ids: Sequence[str]) -> dict[str, str | None]:
        """The current revision of each document; None for one that is deleted or was never there."""
        answer = self._ask(database, "/_all_docs", {"keys": list(ids)})
        found: dict[str, str | None] = dict.fromkeys(ids)
        for row in answer.get("rows", []):
            value = row.get("value") or {}
            if "id" in row and not value.get("deleted"):
                found[row["id"]] = value.get("rev")
        return found

    def _described(self, database: str) -> Any:
        found = self._ask(database, "")
        if not isinstance(found, dict) or "update_seq" not in found:
            raise self._stranger()
        return found

    def _ask(self, database: str, path: str, question: object = None) -> Any:
        headers = {"Accept": "application/json"}
        if self._url.user:
            credentials = f"{self._url.user}:{self._url.password}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(credentials).decode()
        data = None
        if question is not None:
            data = json.dumps(question).encode()
            headers["Content-Type"] = "application/json"
        # The scheme was checked when the URL was parsed.
        address = f"{self._url.server}/{quote(database, safe='')}{path}"
        request = urllib.request.Request(address, data, headers)
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            # It is the answer, too, with a connection that is still open.
            error.close()
            raise self._refused(error.code, database, redirect_target(address, error.code, error.headers)) from None
        except ValueError:
            raise self._stranger() from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise self._unreachable(getattr(error, "reason", error)) from None

    def _stranger(self) -> MigrationError:
        return MigrationError(
            f"What answers at {self._url.server} is not CouchDB. Check COUCHDB_URL, and what stands in front of it.",
            "couchdb_stranger",
        )

    def _refused(self, status: int, database: str, there: str) -> MigrationError:
        if there:
            return MigrationError(
                f"CouchDB at {self._url.server} answers {status} and redirects to {there}. Nothing was sent there. If it is the "
                "same CouchDB, use that address in COUCHDB_URL.",
                "couchdb_moved",
                status=status,
            )
        if status in (401, 403):
            return MigrationError(
                f"CouchDB at {self._url.server} refuses the user {self._url.user!r} for {database!r} ({status}). "
                "Check user and password in COUCHDB_URL; special characters must be percent-encoded.",
                "couchdb_unauthorized",
                status=status,
            )
        if status == 404:
            return MigrationError(
                f"CouchDB at {self._url.server} has no database {database!r}. Check the name in COUCHDB_URL: couch2pg "
                "would make it, and find it empty.",
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
                "Install the certificate of its authority here, and name it in couch2pg's NODE_EXTRA_CA_CERTS.",
                "couchdb_certificate",
            )
        return MigrationError(
            f"CouchDB at {self._url.server} can't be reached from this host: {reason}. "
            "Check its name, its port, and the firewalls between.",
            "couchdb_unreachable",
        )
