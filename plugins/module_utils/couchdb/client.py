# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A read-only client for CouchDB: the state of a database, its changes, the revisions of its documents."""

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
from . import certificate
from .url import CouchdbUrl, seq_number

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class DatabaseState:
    """The sequence number of a database's newest change, and its number of documents without deleted ones."""

    update_seq: int
    documents: int


class CouchDB:
    """A CouchDB server. Only reads: POST requests carry query parameters.

    url: the address with the credentials.
    ca_cert: a PEM file with certificates to trust in addition to the system's.
    verify: False to accept any certificate.
    wanted: the file that couch2pg trusts, for messages; this host may lack it.
    """

    def __init__(self, url: CouchdbUrl, ca_cert: str = "", verify: bool = True, wanted: str = "") -> None:
        self._url = url
        self._wanted = wanted
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
        """The sequence number of the newest change.

        Raises MigrationError ``couchdb_no_database`` when the database doesn't exist; it is never created.
        """
        return seq_number(self._described(database)["update_seq"])

    def documents(self, database: str) -> int:
        """The number of documents, without deleted ones."""
        return self.state(database).documents

    def state(self, database: str) -> DatabaseState:
        """Sequence number and number of documents in one request. Raises MigrationError ``couchdb_no_database``."""
        found = self._described(database)
        return DatabaseState(seq_number(found["update_seq"]), int(found.get("doc_count", 0)))

    def quiet_since(self, database: str, seq: str) -> bool:
        """Whether nothing has changed since ``seq``, a sequence that this server returned."""
        answer = self._ask(database, f"/_changes?limit=1&since={quote(seq, safe='')}")
        return not answer.get("results")

    def changed_since(self, database: str, seq: str, ids: Sequence[str]) -> set[str]:
        """The documents among ``ids`` that were changed or deleted since ``seq``."""
        answer = self._ask(database, f"/_changes?filter=_doc_ids&since={quote(seq, safe='')}", {"doc_ids": list(ids)})
        # A server without this filter answers with every change.
        return {row["id"] for row in answer.get("results", []) if "id" in row} & set(ids)

    def changed_ids(self, database: str, limit: int) -> list[str]:
        """The documents of the oldest changes, at most ``limit`` of them, without deleted ones."""
        answer = self._ask(database, f"/_changes?limit={limit}")
        return [row["id"] for row in answer.get("results", []) if "id" in row and not row.get("deleted")]

    def fetch(self, database: str, ids: Sequence[str]) -> None:
        """Fetch these documents with their content, which is not kept."""
        self._ask(database, "/_all_docs?include_docs=true", {"keys": list(ids)})

    def revisions(self, database: str, ids: Sequence[str]) -> dict[str, str | None]:
        """The current revision of each document; None for a document that is deleted or never existed."""
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
        # url.parse has checked the scheme.
        address = f"{self._url.server}/{quote(database, safe='')}{path}"
        request = urllib.request.Request(address, data, headers)
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            # The error is also the response, whose connection is still open.
            error.close()
            raise self._refused(error.code, database, redirect_target(address, error.code, error.headers)) from None
        except ValueError:
            raise self._stranger() from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise self._unreachable(getattr(error, "reason", error)) from None

    def _stranger(self) -> MigrationError:
        return MigrationError(
            f"The server at {self._url.server} is not CouchDB. Check COUCHDB_URL, and any proxy in front of it.",
            "not_couchdb",
        )

    def _refused(self, status: int, database: str, other_server: str) -> MigrationError:
        if other_server:
            return MigrationError(
                f"CouchDB at {self._url.server} answers {status} and redirects to {other_server}. Nothing was sent there. If it is the "
                "same CouchDB, use that address in COUCHDB_URL.",
                "couchdb_moved",
                status=status,
            )
        if status in (401, 403):
            return MigrationError(
                f"CouchDB at {self._url.server} refuses the user {self._url.user!r} for {database!r} ({status}). "
                "Check the user and password in COUCHDB_URL; special characters must be percent-encoded.",
                "couchdb_unauthorized",
                status=status,
            )
        if status == 404:
            return MigrationError(
                f"CouchDB at {self._url.server} has no database {database!r}. Check the name in COUCHDB_URL: couch2pg "
                "would create the database and find it empty.",
                "couchdb_no_database",
                database=database,
            )
        return MigrationError(
            f"CouchDB at {self._url.server} answers {status}. See its log, and that of any proxy in front of it.",
            "couchdb_error",
            status=status,
        )

    def _unreachable(self, reason: object) -> MigrationError:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return MigrationError(
                f"The certificate of CouchDB at {self._url.server} is not trusted on this host: {reason.verify_message.rstrip('.')}. "
                f"{certificate.remedy(reason.verify_message, self._wanted)}",
                "couchdb_certificate",
            )
        return MigrationError(
            f"CouchDB at {self._url.server} can't be reached from this host: {reason}. "
            "Check its name, its port, and the firewalls in between. Where this host reaches it by another address, as in a network of "
            "containers, set couch2pg_app_reach: {couchdb_server: http://HOST:PORT}.",
            "couchdb_unreachable",
        )
