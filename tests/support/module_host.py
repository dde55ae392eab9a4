# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away host on which modules run as on a managed one, with a PostgreSQL and a CouchDB of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import ansible

from .couchdb import DATABASES, USER
from .hosts import Host, Spec
from .modules import run_module
from .places import ROOT, SupportError

MODULES = "/opt/modules"
START_SECONDS = 60


def spec(name: str, *, compose: bool = False, postgres: tuple[str, ...] = ()) -> Spec:
    """The host, with the collection and what it needs of Ansible; the others as ``Spec`` has them."""
    ours = f"{MODULES}/ansible_collections/cht/couch2pg"
    volumes = (f"{Path(ansible.__file__).parent}:{MODULES}/ansible:ro", f"{ROOT}:{ours}:ro")
    return Spec(name, compose=compose, postgres=postgres, volumes=volumes)


def run_there(host: Host, name: str, options: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    """The module's result, run as root with the host's own Python."""
    variables = ("--env", f"PYTHONPATH={MODULES}", "--env", "PYTHONDONTWRITEBYTECODE=1")
    through = [host.docker.program, "exec", "--interactive", *variables, host.container]
    return run_module(
        name, options, check=check, environment=host.docker.environment, through=through, python="python3"
    )


def start_postgresql(host: Host) -> None:
    """With the packages' own settings, at 127.0.0.1:5432."""
    host.run("sh", "-c", 'pg_createcluster --start "$(ls /usr/lib/postgresql)" main')


def sql(host: Host, statements: str, database: str = "postgres") -> str:
    """What psql says, as the server's own user."""
    words = (
        "psql",
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        f"--dbname={database}",
    )
    return host.run(*words, user="postgres", stdin=statements.encode())


def start_couchdb(host: Host, password: str) -> None:
    """With the databases of a CHT, at 127.0.0.1:5984, in memory."""
    host.put("/etc/couchdb.json", json.dumps({"admins": {USER: password}}), mode="0600")
    server = "/opt/couch2pg/node_modules/pouchdb-server/bin/pouchdb-server"
    options = ("--port", "5984", "--in-memory", "--no-stdout-logs", "--config", "/etc/couchdb.json")
    host.run("systemd-run", "--unit=couchdb", "--working-directory=/run", "/usr/bin/node", server, *options)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            couchdb(host, password, "GET", "/_all_dbs")
            break
        except SupportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    for database in DATABASES:
        if database not in couchdb(host, password, "GET", "/_all_dbs"):
            couchdb(host, password, "PUT", f"/{database}")


def couchdb(host: Host, password: str, method: str, path: str, body: object = None) -> Any:
    """One request of its administrator; the answer."""
    words = ["curl", "--silent", "--show-error", "--fail", "--user", f"{USER}:{password}", "--request", method]
    if body is not None:
        words += ["--header", "Content-Type: application/json", "--data-binary", "@-"]
    data = None if body is None else json.dumps(body).encode()
    return json.loads(host.run(*words, f"http://127.0.0.1:5984{path}", stdin=data))
