# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a database: those that a migration copies, and those that it leaves out."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.errors import MigrationError
from .identifiers import qualified, quote, shown, sql_shown
from .session import Session

# The operator's schemas: not PostgreSQL's own, not temporary ones.
USER_SCHEMAS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

EXTENSION_MEMBER = """EXISTS (
    SELECT FROM pg_catalog.pg_depend AS d
    WHERE d.classid = '{catalog}'::regclass AND d.objid = {oid} AND d.deptype = 'e'
)"""

_TABLES = f"""
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       pg_catalog.pg_relation_size(c.oid) AS heap_bytes,
       pg_catalog.pg_table_size(c.oid) AS table_bytes,
       pg_catalog.pg_indexes_size(c.oid) AS index_bytes,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       c.reltuples::float AS estimated_rows, c.relpersistence = 'u' AS unlogged,
       pg_catalog.row_security_active(c.oid) AS row_security,
       (SELECT e.extname::text FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e') AS extension,
       EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE c.oid = ANY(e.extconfig)) AS configuration,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'f') AND c.relpersistence <> 't' AND {USER_SCHEMAS}
ORDER BY n.nspname, c.relname
"""


# Partitioned tables whose restored rows may belong to another partition than on the source. The hash of an enum's value depends on its oid.
# The order of text, and the hash of text with a nondeterministic collation, depend on the libraries of the server's host. Arrays, ranges
# and rows, which have operator classes of pseudo-types, may contain such values.
_MOVING = f"""
WITH RECURSIVE part(oid, top) AS (
    SELECT p.partrelid, p.partrelid FROM pg_catalog.pg_partitioned_table AS p
    WHERE p.partstrat IN ('h', 'r') AND EXISTS (
            SELECT FROM pg_catalog.pg_opclass AS o JOIN pg_catalog.pg_type AS t ON t.oid = o.opcintype AND t.typtype = 'p'
            WHERE o.oid = ANY (p.partclass) AND NOT (p.partstrat = 'r' AND t.typname = 'anyenum'))
       OR EXISTS (SELECT FROM pg_catalog.pg_collation AS o WHERE o.oid = ANY (p.partcollation) AND o.collname NOT IN ('C', 'POSIX')
                  AND (p.partstrat = 'r' OR p.partstrat = 'h' AND to_jsonb(o) ->> 'collisdeterministic' = 'false'))
  UNION
    SELECT i.inhrelid, part.top FROM part JOIN pg_catalog.pg_inherits AS i ON i.inhparent = part.oid
)
SELECT part.oid, {sql_shown("n.nspname", "c.relname")} AS top, pg_catalog.count(*) OVER (PARTITION BY part.top) AS size
FROM part JOIN pg_catalog.pg_class AS c ON c.oid = part.top JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY 3
"""


# What a dump reads or locks, and this role may not read. Of an extension, a dump reads only the configuration tables.
_UNREADABLE = f"""
SELECT {sql_shown("n.nspname", "c.relname")} AS name
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'S') AND c.relpersistence <> 't' AND {USER_SCHEMAS}
  AND (NOT {EXTENSION_MEMBER.format(catalog="pg_catalog.pg_class", oid="c.oid")}
       OR EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE c.oid = ANY(e.extconfig)))
  AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind
           WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END)
ORDER BY c.relkind = 'S', 1
"""
_SCHEMAS = f"SELECT n.nspname AS name FROM pg_catalog.pg_namespace AS n WHERE {USER_SCHEMAS} ORDER BY 1"
READ_ALL_DATA_SINCE = 140000
INHERIT_OPTION_SINCE = 160000


@dataclass(frozen=True)
class Table:
    """A table with its own storage. Sizes are in bytes.

    table_bytes: heap and TOAST, without indexes.
    estimated_rows: negative when the table was never analyzed.
    row_security: whether row-level security hides rows from the session's role.
    tree: the partitioned table that the table belongs to, if a restored row may be in another of its partitions; otherwise empty.
    """

    oid: int
    schema: str
    name: str
    heap_bytes: int
    table_bytes: int
    index_bytes: int
    readable: bool
    estimated_rows: float = -1.0
    owner: str = ""
    unlogged: bool = False
    row_security: bool = False
    tree: str = ""

    @property
    def sql(self) -> str:
        """The quoted, qualified name."""
        return qualified(self.schema, self.name)

    @property
    def key(self) -> str:
        """The name in evidence and messages: ``schema.name``."""
        return shown(self.schema, self.name)

    @property
    def plain(self) -> str:
        """``schema.name`` without quotes, as an operator may write it. It need not be unique."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Tables:
    """The tables to copy, and those left out as ``{table, reason, extension}``; extension: the one that the table belongs to, or empty."""

    kept: list[Table]
    left_out: list[dict[str, str]]


def list_tables(session: Session) -> Tables:
    """Every table of the session's database, largest first, so that parallel workers end at about the same time."""
    kept: list[Table] = []
    left_out: list[dict[str, str]] = []
    # Partitioned tables can be nested. The outermost one has most partitions, so it comes last and takes precedence.
    trees = {row["oid"]: row["top"] for row in session.rows(_MOVING)}
    for row in session.rows(_TABLES):
        row["tree"] = trees.get(row["oid"], "")
        reason = _left_out(row["kind"], row["configuration"], row["extension"])
        if reason:
            left_out.append(
                {"table": shown(row["schema"], row["name"]), "reason": reason, "extension": row["extension"] or ""}
            )
        else:
            kept.append(Table(**{name: row[name] for name in Table.__dataclass_fields__}))
    kept.sort(key=lambda table: (-table.table_bytes, table.key))
    return Tables(kept, left_out)


def _left_out(kind: str, configuration: bool, extension: str | None) -> str:
    if kind == "f":
        return "a foreign table: its rows are on another server"
    if configuration:
        return "a table of an extension: pg_dump copies the rows that the extension calls its configuration"
    if extension:
        return "a member of an extension: CREATE EXTENSION creates it, without rows that were added to it"
    return ""


def check_readable(session: Session, tables: list[Table] | None = None) -> None:
    """Raise MigrationError ``not_readable`` when the session's user may not read ``tables`` (None: everything that a dump reads)."""
    if tables is None:
        names = [str(row["name"]) for row in session.rows(_UNREADABLE)]
    else:
        names = [table.key for table in tables if not table.readable]
    if names:
        user = session.settings.user
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise MigrationError(
            f"The role {user!r} may not read {shown}. Set couch2pg_login_user to 'postgres', or let the role read everything: "
            f"in {session.settings.database!r} at {session.settings.place}, as a superuser, run {_reading(session)}",
            "not_readable",
            tables=names,
        )


def _reading(session: Session) -> str:
    """Statements that let the session's role read every table and sequence of its database."""
    row = session.row(
        "SELECT rolname AS name, rolinherit AS inherits FROM pg_catalog.pg_roles WHERE rolname = current_user"
    )
    user = row["name"]
    # A role that inherits nothing gains nothing from being a member.
    if session.version >= INHERIT_OPTION_SINCE or (session.version >= READ_ALL_DATA_SINCE and row["inherits"]):
        return f"GRANT pg_read_all_data TO {quote(user)}{'' if row['inherits'] else ' WITH INHERIT TRUE'};"
    schemas = ", ".join(quote(row["name"]) for row in session.rows(_SCHEMAS))
    what = (
        f"USAGE ON SCHEMA {schemas}",
        f"SELECT ON ALL TABLES IN SCHEMA {schemas}",
        f"SELECT ON ALL SEQUENCES IN SCHEMA {schemas}",
    )
    return " ".join(f"GRANT {each} TO {quote(user)};" for each in what)


def check_row_security(tables: list[Table], user: str) -> None:
    """Raise MigrationError ``row_security`` with the tables whose rows are partly hidden from ``user``."""
    names = [table.key for table in tables if table.row_security]
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise MigrationError(
            f"Row-level security hides rows of {shown} from the role {user!r}, so pg_dump would fail. "
            f"Set couch2pg_login_user to 'postgres', or run on the source, as a superuser: ALTER ROLE {quote(user)} BYPASSRLS;",
            "row_security",
            tables=names,
        )


def check_couchdb(tables: list[Table]) -> None:
    """Raise MigrationError ``couchdb_missing`` when this isn't a couch2pg database."""
    if not any(table.name == "couchdb" for table in tables):
        raise MigrationError(
            "The database has no table 'couchdb', so it is not a couch2pg database. Check the database's name.",
            "couchdb_missing",
        )


def select(tables: list[Table], names: list[str]) -> list[Table]:
    """The tables in ``names`` (``schema.name`` or ``name``); all tables when ``names`` is empty.

    Raises MigrationError ``table_missing`` for a name without a table.
    """
    if not names:
        return tables
    missing = [name for name in names if not any(name in (table.key, table.plain, table.name) for table in tables)]
    if missing:
        raise MigrationError(
            f"The database has no table {', '.join(missing)}. Check the names.",
            "table_missing",
            tables=missing,
        )
    return [table for table in tables if {table.key, table.plain, table.name} & {*names}]
