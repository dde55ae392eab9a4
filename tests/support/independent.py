# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence of a migration that shares no code with the collection: ``pg_dump -s``, psql, and sorted COPY of every table."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
from collections import Counter
from typing import Any, Protocol

from psycopg2 import sql

from .binaries import Binaries
from .clusters import Cluster

EVENT_TRIGGERS_SINCE = 17


class Server(Protocol):
    """What is asked for rows and schemas: a ``Cluster``, or a server that stands elsewhere."""

    def dsn(self, database: str) -> str:
        """The connection string."""

    def connect(self, database: str) -> Any:
        """A connection in autocommit mode."""


_TABLES = """
SELECT n.nspname, c.relname, array_agg(a.attname ORDER BY a.attname) FILTER (WHERE a.attname IS NOT NULL)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = ANY(%s) AND c.relispopulated AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_partition_tree(c.oid) AS t JOIN pg_class AS f ON f.oid = t.relid AND f.relkind = 'f')
GROUP BY 1, 2
"""


def rows(cluster: Server, database: str, *kinds: str) -> dict[str, str]:
    """A hash of the sorted COPY of every relation of these ``relkind``, columns in the order of their names.

    A partitioned table has the rows of its partitions; one with foreign tables among them is left out.
    """
    connection = cluster.connect(database)
    found = {}
    try:
        cursor = connection.cursor()
        cursor.execute(
            "SET timezone = 'UTC'; SET extra_float_digits = 3; SET intervalstyle = 'postgres'; SET row_security = off"
        )
        cursor.execute(_TABLES, [list(kinds)])
        for schema, name, columns in cursor.fetchall():
            names = sql.SQL(", ").join(map(sql.Identifier, columns or []))
            only = sql.SQL("" if kinds == ("p",) else "ONLY ")
            table = sql.Identifier(schema, name)
            query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(names, only, table)
            output = io.BytesIO()
            cursor.copy_expert(query, output)
            found[table.as_string(connection)] = hashlib.sha256(
                b"\n".join(sorted(output.getvalue().split(b"\n")))
            ).hexdigest()
    finally:
        connection.close()
    return found


def schema(cluster: Server, database: str, clients: Binaries) -> Counter[str]:
    """What ``pg_dump -s`` prints of each object; the order of objects depends on their numbers."""
    text = _run(clients, [clients.program("pg_dump"), "--schema-only", "--dbname", cluster.dsn(database)])
    text = re.sub(r"(?m)^\\(un)?restrict .*$", "", text)
    return Counter(part.strip() for part in re.split(r"(?m)^--\n(?=-- Name: )", text))


def copy(source: Cluster, target: Cluster, database: str, name: str, clients: Binaries) -> list[str]:
    """``pg_dump | psql`` into a new database ``name`` on the target, as a person would; psql's errors."""
    connection = target.connect()
    try:
        connection.cursor().execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    finally:
        connection.close()
    # Rows that belong to another partition on another server are put there.
    text = _run(clients, [clients.program("pg_dump"), "--load-via-partition-root", "--dbname", source.dsn(database)])
    command = [clients.program("psql"), "--no-psqlrc", "--quiet", "--output=/dev/null", "--dbname", target.dsn(name)]
    # An event trigger of the database must not stop what follows it in the dump.
    quiet = {"PGOPTIONS": "-c event_triggers=off"} if target.binaries.major >= EVENT_TRIGGERS_SINCE else {}
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, env={**clients.environment(), **quiet}
    )
    return [line for line in done.stderr.splitlines() if "ERROR" in line]


def _run(clients: Binaries, command: list[str]) -> str:
    environment = {**clients.environment(), "PGCLIENTENCODING": "UTF8"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
