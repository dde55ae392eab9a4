# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A couch2pg that really runs: the npm package with the project's own daemon, as a process or under a supervisor."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Mapping
from urllib.parse import quote

from . import node
from .clusters import Cluster
from .couchdb import CouchDB
from .node import Node
from .places import SupportError
from .seed import OWNER

ENTRYPOINT = node.DAEMON.with_name("entrypoint")
COMPLETED = "Run completed. Next run at"


def settings(couchdb: CouchDB, cluster: Cluster, database: str, password: str) -> dict[str, str]:
    """The environment of a couch2pg between the two, which runs again after six seconds."""
    place = f"{cluster.host}:{cluster.port}/{quote(database)}"
    return {
        "COUCHDB_URL": couchdb.url(),
        "POSTGRESQL_URL": f"postgresql://{OWNER}:{quote(password, safe='')}@{place}",
        "COUCH2PG_SLEEP_MINS": "0.1",
        "COUCH2PG_DOC_LIMIT": "1000",
        "COUCH2PG_CHANGES_LIMIT": "1000",
        "COUCH2PG_RETRY_COUNT": "5",
        "COUCH2PG_USERS_META_DOC_LIMIT": "1000",
    }


class Couch2pg:
    """One process of it, whose log is ``folder/couch2pg.log``."""

    # As in a container, with the variables of its entrypoint.
    by_entrypoint = False

    def __init__(self, folder: Path, environment: Mapping[str, str], installed: Node | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "couch2pg.log"
        self._environment = dict(environment)
        self._node = installed or node.new()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Couch2pg:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; what it says is appended to the log."""
        program, packages = str(self._node.program), str(self._node.packages)
        environment = {"PATH": os.environ["PATH"], "NODE_PATH": packages, "NODE": program, **self._environment}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [ENTRYPOINT] if self.by_entrypoint else [program, node.DAEMON],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop it; nothing if it doesn't run."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def text(self) -> str:
        """What it has said."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def wait_for(self, text: str, times: int = 1, seconds: float = 60) -> None:
        """Wait until it has said ``text`` so often. Raises ``SupportError`` with its log when it doesn't."""
        deadline = time.monotonic() + seconds
        while self.text().count(text) < times:
            if time.monotonic() > deadline:
                raise SupportError(f"couch2pg never said {text!r}:\n{self.text()[-3000:]}")
            time.sleep(0.1)

    def run_once(self) -> None:
        """Start it, wait for one complete run, stop it."""
        before = self.text().count(COMPLETED)
        with self:
            self.wait_for(COMPLETED, before + 1)

    def wait_for_end(self, seconds: float = 60) -> int:
        """Its exit code, when it ends by itself."""
        if self.process is None:
            raise SupportError("couch2pg doesn't run.")
        code = self.process.wait(seconds)
        self.process = None
        return code
