# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rest of a CHT around the demo's two servers: CouchDB, the people who write into it, and a couch2pg for either side.

Without Node.js there is none of it, and the demo uses a writer that does to PostgreSQL what couch2pg would.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from support import couch2pg, node, seed
from support.clusters import Cluster
from support.couchdb import CouchDB
from support.migration import column, execute

from .processes import COUCHDB, SAVED, SERVICE, folder, runs, service

DOCUMENTS = 1000
BATCH = 20
PAUSE_SECONDS = 0.5


def has_node() -> bool:
    """Whether Node.js and npm are on this machine. They are not installed for a demo."""
    return bool(shutil.which("node") and shutil.which("npm"))


def begin(source: Cluster, database: str) -> CouchDB:
    """CouchDB with some documents, and a couch2pg that has copied them into the source and goes on doing so."""
    node.install()
    known = json.loads(SAVED.read_text(encoding="utf-8")) if SAVED.exists() else {}
    server = CouchDB(COUCHDB, known.get("password"), known.get("port"))
    if not runs(known.get("pid"), "pouchdb-server"):
        server.__enter__()
        _save(
            SAVED,
            {"password": server.password, "port": server.port, "pid": server.process.pid if server.process else 0},
        )
    if not known:
        server.put("medic", [document(f"in the beginning {number}") for number in range(DOCUMENTS)])
    here = folder("source")
    if not (here / "couch2pg.env").exists():
        here.mkdir(parents=True, exist_ok=True)
        # The seed has the places of a couch2pg in some other CouchDB.
        execute(source, "DELETE FROM couchdb_progress", database)
        # The role's password is known to the file that psql gets it from.
        variables = couch2pg.settings(server, source, database, source.password_of(seed.OWNER))
        _save_text(here / "couch2pg.env", "".join(f"export {name}='{value}'\n" for name, value in variables.items()))
    service("start", "source")
    _wait_until_copied(source, database, server)
    return server


def deployment(side: str) -> dict[str, Any]:
    """How couch2pg is kept on this side, as the inventory says it."""
    commands = {f"{verb}_command": [str(SERVICE), verb, str(folder(side))] for verb in ("start", "stop", "status")}
    return {
        "kind": "env_file",
        "env_file": str(folder(side) / "couch2pg.env"),
        "app_dir": str(node.new().packages.parent),
        "log": {"kind": "file", "path": str(folder(side) / "couch2pg.log")},
        **commands,
    }


def document(text: str) -> dict[str, Any]:
    """What a health worker's phone sends."""
    return {
        "_id": str(uuid.uuid4()),
        "type": "data_record",
        "form": "home_visit",
        "fields": {"notes": text, "temperature": 36.5},
    }


def write(seconds: float) -> None:
    """New documents and changed ones, until it is told to stop; says in one line of JSON what it did."""
    known = json.loads(SAVED.read_text(encoding="utf-8"))
    server = CouchDB(COUCHDB, known["password"], known["port"])
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    started, added, changed = time.monotonic(), 0, 0
    recent: list[dict[str, Any]] = []
    while not told and time.monotonic() - started < seconds:
        for changing in recent[:BATCH]:
            changing["fields"]["notes"] += " and corrected"
        batch = [*recent[:BATCH], *(document("while the database moves") for _number in range(BATCH))]
        for written, revision in zip(batch, server.put("medic", batch)):
            written["_rev"] = revision
        changed, added = changed + len(batch) - BATCH, added + BATCH
        recent = batch[-BATCH:]
        time.sleep(PAUSE_SECONDS)
    print(json.dumps({"added": added, "changed": changed, "seconds": round(time.monotonic() - started, 1)}))


def _wait_until_copied(source: Cluster, database: str, server: CouchDB) -> None:
    """The demo begins where a real migration does: with a source that is up to date."""
    log = couch2pg.Couch2pg(folder("source"), {})
    log.wait_for(couch2pg.COMPLETED)
    (seq,) = column(source, f"SELECT seq FROM couchdb_progress WHERE source = '{server.key()}'", database)
    print(f"couch2pg runs on the source, and has copied CouchDB's medic up to {seq}", flush=True)


def _save(path: Path, content: dict[str, Any]) -> None:
    _save_text(path, json.dumps(content))


def _save_text(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    write(float(sys.argv[1]))
