# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the server of the host that this runs on, and a CouchDB, as if couch2pg had copied one from the other.

Over the socket, as the server's own user, or where libpq's variables lead (PGHOST, PGUSER ...), with what the system has
(python3-psycopg2). What is secret comes as one line of JSON
from standard input: ``{"password": ..., "couchdb_url": ...}``, the password of the role couch2pg and its COUCHDB_URL. With 0
documents the database is there already, and only CouchDB is filled.

    python3 -m support.seed_here --database cht --documents 2000
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import psycopg2

from . import seed

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

TABLES = {
    "": "couchdb",
    "-sentinel": None,
    "-users-meta": "couchdb_users_meta",
    "-logs": "couchdb_medic_logs",
}
BATCH = 500


class Here:
    """What ``seed`` needs of a cluster."""

    def connect(self, database: str = "postgres", user: str = os.environ.get("PGUSER", "postgres")) -> Connection:
        """A session."""
        made: Connection = psycopg2.connect(dbname=database, user=user)
        made.autocommit = True
        return made

    def remember(self, user: str, password: str) -> None:
        """Passwords are the caller's."""


def fill_couchdb(connection: Connection, couchdb_url: str) -> None:
    """Every document with its revision, and couch2pg's place at the end of each database."""
    cursor = connection.cursor()
    cursor.execute("DELETE FROM couchdb_progress")
    medic = urlsplit(couchdb_url)
    databases = {f"{medic.path}{suffix}": table for suffix, table in TABLES.items()}
    for path, table in {**databases, "/_users": None}.items():
        _ask(couchdb_url, "PUT", path, None, (201, 412))
        if table:
            # Attachments aren't copied to PostgreSQL: what the documents say of them would lead nowhere.
            cursor.execute(f"SELECT (doc - '_attachments')::text FROM {table}")
            while rows := cursor.fetchmany(BATCH):
                text = ",".join(row[0] for row in rows)
                body = f'{{"new_edits": false, "docs": [{text}]}}'
                refused = _ask(couchdb_url, "POST", f"{path}/_bulk_docs", body.encode(), (201,))
                if refused:
                    raise SystemExit(f"CouchDB refused {refused[0]}")
        place = connection.cursor()
        seq = _ask(couchdb_url, "GET", path, None, (200,))["update_seq"]
        # couch2pg's key has no credentials.
        place.execute(
            "INSERT INTO couchdb_progress VALUES (%s, %s)", [str(seq), medic.netloc.rpartition("@")[2] + path]
        )


def _ask(couchdb_url: str, method: str, path: str, body: bytes | None, accept: tuple[int, ...]) -> Any:
    parts = urlsplit(couchdb_url)
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    request = urllib.request.Request(
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}",
        method=method,
        data=body,
        headers={
            "Authorization": "Basic " + base64.b64encode(credentials.encode()).decode(),
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in accept:
            return None
        raise SystemExit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None


def main() -> None:
    """Seed, then fill CouchDB from what was seeded."""
    parser = argparse.ArgumentParser(prog="support.seed_here")
    parser.add_argument("--database", default="cht")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--owner", default=seed.OWNER)
    parser.add_argument("--made", action="store_true", help="the database is there already, and empty")
    options = parser.parse_args()
    secret = json.loads(sys.stdin.readline())
    here: Any = Here()
    if options.documents:
        seed.seed(
            here,
            options.database,
            documents=options.documents,
            huge=False,
            password=secret["password"],
            owner=options.owner,
            made=options.made,
        )
    connection = here.connect(options.database)
    try:
        fill_couchdb(connection, secret["couchdb_url"])
    finally:
        connection.close()


if __name__ == "__main__":
    main()
