# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration whose source is fed by a real couch2pg, under a supervisor of the operator's own on either side."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from . import couch2pg, node, seed
from .couchdb import CouchDB
from .migration import ROOT, Migration, execute

SUPERVISOR = ROOT / "tests" / "demo" / "couch2pg"


def supervise(verb: str, folder: Path) -> int:
    """Start or stop it, or tell by 0 that it runs."""
    return subprocess.run([SUPERVISOR, verb, folder], check=verb != "status").returncode


def folder_of(migration: Migration, side: str) -> Path:
    """Where couch2pg of this side has its settings and its log."""
    return migration.folder / "couch2pg" / side


@contextmanager
def following(migration: Migration, couchdb: CouchDB, password: str) -> Iterator[Migration]:
    """couch2pg runs on the source, from ``couchdb``; on the target its role has another password."""
    seed.create_role(migration.source, seed.OWNER, password)
    seed.create_role(migration.target, seed.OWNER, "another")
    execute(migration.source, "DELETE FROM couchdb_progress", migration.database)
    folders = {side: folder_of(migration, side) for side in ("source", "target")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    variables = couch2pg.settings(couchdb, migration.source, migration.database, password)
    # What waits for its next run waits a second.
    variables["COUCH2PG_SLEEP_MINS"] = "0.02"
    env_file = folders["source"] / "couch2pg.env"
    env_file.touch(mode=0o600)
    env_file.write_text("".join(f"export {name}='{value}'\n" for name, value in variables.items()))
    try:
        supervise("start", folders["source"])
        couch2pg.Couch2pg(folders["source"], {}).wait_for(couch2pg.COMPLETED)
        migration.variables["couch2pg_handover"] = True
        for side in folders:
            migration.host_variables[side] = {"couch2pg_app": place_of(migration, side)}
        place = {"host": migration.target.host, "port": migration.target.port}
        migration.host_variables["target"]["couch2pg_app_postgres"] = place
        yield migration
    finally:
        for folder in (migration.folder / "couch2pg").iterdir():
            supervise("stop", folder)


def place_of(migration: Migration, side: str) -> dict[str, Any]:
    """How couch2pg is deployed on that side; its folder is made."""
    folder = folder_of(migration, side)
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "kind": "env_file",
        "env_file": str(folder / "couch2pg.env"),
        "app_dir": str(node.new().packages.parent),
        "node": str(node.new().program),
        "log": {"kind": "file", "path": str(folder / "couch2pg.log")},
        **{f"{verb}_command": [str(SUPERVISOR), verb, str(folder)] for verb in ("start", "stop", "status")},
    }
