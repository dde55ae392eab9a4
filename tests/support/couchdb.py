# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away server that speaks CouchDB's protocol (pouchdb-server), with the databases of a CHT."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any, Iterable
from urllib.parse import quote

from . import node
from .places import SupportError
from .ports import free_port

USER = "medic"
DATABASES = ("medic", "medic-sentinel", "medic-users-meta", "medic-logs", "_users")
START_SECONDS = 60
BATCH = 1000


class CouchDB:
    """It runs between ``start`` and ``stop``, or as a context; its contents stay in ``folder``."""

    def __init__(self, folder: Path, password: str | None = None, port: int | None = None) -> None:
        self.folder = folder
        self.password = password or secrets.token_hex(8)
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True, exist_ok=True)
        # Without an administrator anybody is one.
        (folder / "config.json").write_text(json.dumps({"admins": {USER: self.password}}), encoding="utf-8")

    def __enter__(self) -> CouchDB:
        self.start()
        for database in DATABASES:
            self.ask("PUT", f"/{database}", accept=(201, 412))
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def url(self, database: str = "medic", scheme: str = "http", port: int | None = None) -> str:
        """COUCHDB_URL, with the password percent-encoded."""
        return f"{scheme}://{USER}:{quote(self.password, safe='')}@127.0.0.1:{port or self.port}/{database}"

    def key(self, database: str = "medic") -> str:
        """The key of couch2pg's place."""
        return f"127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        packages = node.new()
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    packages.program,
                    packages.packages / "pouchdb-server" / "bin" / "pouchdb-server",
                    *("--port", str(self.port), "--host", "127.0.0.1", "--no-stdout-logs"),
                    *("--dir", self.folder / "data", "--config", self.folder / "config.json"),
                ],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ended by its pid, not by Ctrl-C for another process.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SupportError(f"pouchdb-server doesn't start: see {self.folder / 'server.log'}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it; nothing if it doesn't run."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def put(self, database: str, documents: Iterable[dict[str, Any]]) -> list[str]:
        """Write documents, all with an ``_id``; returns their revisions."""
        revisions = []
        waiting = list(documents)
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            answer = self.ask("POST", f"/{database}/_bulk_docs", {"docs": batch}, accept=(201,))
            failed = [row for row in answer if "rev" not in row]
            if failed:
                raise SupportError(f"CouchDB refused {failed[0]}")
            # The answers come in no order.
            found = {row["id"]: row["rev"] for row in answer}
            revisions += [found[document["_id"]] for document in batch]
        return revisions

    def update_seq(self, database: str = "medic") -> int:
        """The number of the newest change."""
        return int(self.ask("GET", f"/{database}")["update_seq"])

    def exists(self, database: str) -> bool:
        """Whether there is such a database."""
        return database in self.ask("GET", "/_all_dbs")

    def ask(self, method: str, path: str, body: object = None, accept: tuple[int, ...] = (200,)) -> Any:
        """One request as the administrator; its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            credentials = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
            headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status not in accept:
            raise SupportError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)

    def _answers(self) -> bool:
        try:
            self.ask("GET", "/_all_dbs")
        except (OSError, http.client.HTTPException, SupportError):
            return False
        return True
