# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database as couch2pg and a deployment's dashboards leave it, invented, the same for the same ``random_seed``.

What it holds is said in the files of ``sql``, in their order. It runs on PostgreSQL 10 and later.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg2 import sql

from .odd_documents import odd_documents
from .places import SupportError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from .clusters import Cluster

OWNER = "couch2pg"
READER = "superset"
MINIMUM = 200
SQL = Path(__file__).with_name("sql")
MIGRATIONS = Path(__file__).parents[1] / "couch2pg" / "migrations"


def seed(
    cluster: Cluster,
    database: str = "cht",
    *,
    documents: int = 50_000,
    random_seed: int = 1,
    unsafe_function: bool = False,
    huge: bool = True,
    password: str | None = None,
    owner: str = OWNER,
    made: bool = False,
) -> None:
    """Make and fill a database owned by the role couch2pg, and the role superset, which reads it.

    ``documents`` is the exact number of rows of table couchdb (200 or more), about 1 kB each; ``huge`` adds three of
    3 MB among them. ``unsafe_function`` makes the dashboards' function one whose refresh fails after a restore.
    ``password`` is that of couch2pg, a random one unless it is given; ``owner`` its role, where it has another name; ``made``
    says that the database is there already, and empty.
    Raises ``SupportError`` for too few documents; a database that exists is psycopg2's error.
    """
    if documents < MINIMUM:
        raise SupportError(f"{documents} documents are too few: {MINIMUM} at least.")
    create_role(cluster, owner, password)
    create_role(cluster, READER)
    if not made:
        create_database(cluster, database, owner)
    _fill(cluster, database, documents, random_seed, unsafe_function, huge, owner)
    _configure(cluster, database)


def seed_again(cluster: Cluster, database: str, *, documents: int, huge: bool) -> None:
    """As ``seed`` does it, but faster the second time: the first call keeps a template on the server."""
    for role in (OWNER, READER):
        create_role(cluster, role)
    template = f"template_{documents}{'_huge' if huge else ''}"
    connection = cluster.connect()
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT FROM pg_database WHERE datname = %s AND datistemplate", [template])
        if not cursor.rowcount:
            create_database(cluster, template)
            _fill(cluster, template, documents, 1, False, huge, OWNER)
            cursor.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(sql.Identifier(template)))
        names = [sql.Identifier(name) for name in (database, template, OWNER)]
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names))
    finally:
        connection.close()
    _configure(cluster, database)


def _fill(
    cluster: Cluster, database: str, documents: int, random_seed: int, unsafe_function: bool, huge: bool, owner: str
) -> None:
    """Make everything in an empty database."""
    connection = cluster.connect(database)
    try:
        cursor = connection.cursor()
        cursor.execute(f"SET ROLE {owner}")
        cursor.execute("SELECT set_config('seed.documents', %s, false)", [str(documents)])
        cursor.execute("SELECT set_config('seed.random', %s, false)", [str(random_seed)])
        # Text of dates and casts of the contents don't depend on whose machine this is.
        cursor.execute("SET timezone = 'UTC'; SET lc_monetary = 'C'; SET maintenance_work_mem = '128MB'")
        _run(connection, "1-tables")
        cursor.executemany("INSERT INTO couchdb (doc) VALUES (%s)", [[text] for text in odd_documents()])
        if huge:
            _run(connection, "2-huge")
        for name in ("3-documents", "4-indexes"):
            _run(connection, name)
        _migrate(connection)
        for name in ("5-dashboards", "6-oddities", "7-grants"):
            _run(connection, name)
        if unsafe_function:
            # Once the views are filled: from PostgreSQL 17 on they could not be.
            _run(connection, "unsafe-function")
        cursor.execute("RESET ROLE")
        cursor.execute("ANALYZE")
    finally:
        connection.close()


def create_role(cluster: Cluster, name: str, password: str | None = None) -> str:
    """Make a role that may log in, with a random password unless one is given; returns the password.

    The cluster's password file knows it. A role that exists gets the new password.
    """
    password = password or secrets.token_hex(16)
    connection = cluster.connect()
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
        verb = "ALTER" if cursor.fetchone() else "CREATE"
        cursor.execute(
            sql.SQL(f"{verb} ROLE {{}} LOGIN PASSWORD {{}}").format(sql.Identifier(name), sql.Literal(password))
        )
    finally:
        connection.close()
    cluster.remember(name, password)
    return password


def create_database(cluster: Cluster, database: str, owner: str = OWNER) -> None:
    """Make an empty UTF-8 database, owned by a role, as the manual guide has the operator do it on the target."""
    connection = cluster.connect()
    try:
        connection.cursor().execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                sql.Identifier(database), sql.Identifier(owner)
            )
        )
    finally:
        connection.close()


def drop_database(cluster: Cluster, database: str) -> None:
    """End every session of a database and drop it; nothing if there is none."""
    connection = cluster.connect()
    try:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [database],
        )
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))
    finally:
        connection.close()


def _run(connection: Connection, name: str) -> None:
    """One file in one transaction. Per cent signs are SQL's own: without parameters, psycopg2 leaves them alone."""
    connection.cursor().execute((SQL / f"{name}.sql").read_text(encoding="utf-8"))


def _migrate(connection: Connection) -> None:
    """The views and functions that couch2pg's daemon makes, remembered so that it takes them for its own."""
    cursor = connection.cursor()
    for table, folder in (("xmlforms_migrations", "xmlforms"), ("users_meta_migrations", "users-meta")):
        for path in sorted((MIGRATIONS / folder).glob("*.sql")):
            text = path.read_text(encoding="utf-8")
            version, _action, name, _suffix = path.name.split(".")
            cursor.execute(text)
            cursor.execute(
                f"INSERT INTO {table} VALUES (%s, %s, md5(%s), timestamptz '2024-01-15 08:01:00+00')",
                [version, name, text],
            )


def _configure(cluster: Cluster, database: str) -> None:
    """Grants and settings of the database itself, which a plain dump doesn't carry."""
    connection = cluster.connect()
    try:
        for statement in (
            "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {database} TO {reader}",
            "ALTER DATABASE {database} SET work_mem = '16MB'",
            "ALTER DATABASE {database} SET timezone = 'Africa/Nairobi'",
            "ALTER ROLE {reader} IN DATABASE {database} SET statement_timeout = '30min'",
            "COMMENT ON DATABASE {database} IS 'couch2pg''s copy of the CHT'",
        ):
            connection.cursor().execute(
                sql.SQL(statement).format(database=sql.Identifier(database), reader=sql.Identifier(READER))
            )
    finally:
        connection.close()
