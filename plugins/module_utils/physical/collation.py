# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The indexes of a copy are in the source's order of text. If this host sorts text in another order, they are rebuilt.

Without that, queries would miss rows, and a unique index would accept a key twice, without an error.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Iterable, Mapping, NamedTuple, TypedDict

from ..common.counted import counted
from ..common.errors import MigrationError
from ..postgres import collations
from ..postgres.database import find_database
from ..postgres.identifiers import quote
from ..postgres.row_types import PARTS
from ..postgres.session import Session
from ..postgres.workers import run_in_sessions
from .private_server import PrivateServer

REBUILD, REFUSE = "rebuild", "refuse"
DEFAULT = 100
# Lower oids are those of objects that initdb makes, which pg_upgrade does not take from the source.
FIRST_OWN = 16384
DATABASE_RECORDS_SINCE = 15
_DATABASES = (
    "SELECT datname AS name FROM pg_catalog.pg_database WHERE datallowconn AND datname <> 'template0' ORDER BY 1"
)
# An index depends on the collations of its columns, of their parts (bounds of ranges, fields of rows), and of the comparisons in its
# expressions and its WHERE: their results decide what is stored, and which rows are in the index.
_USES = f"""
WITH RECURSIVE part(root, type) AS (
    SELECT i.indexrelid, a.atttypid FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_attribute AS a
        ON a.attrelid = i.indexrelid OR a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
  UNION
{PARTS}), use(index, oid) AS (
    SELECT i.indexrelid, k.oid FROM pg_catalog.pg_index AS i, LATERAL pg_catalog.unnest(i.indcollation) AS k(oid)
  UNION
    SELECT i.indexrelid, found[1]::oid FROM pg_catalog.pg_index AS i, LATERAL pg_catalog.regexp_matches(
        coalesce(i.indexprs::text, '') || coalesce(i.indpred::text, ''), ':inputcollid ([0-9]+)', 'g') AS found
  UNION
    SELECT part.root, r.rngcollation FROM part JOIN pg_catalog.pg_range AS r ON r.rngtypid = part.type
  UNION
    SELECT part.root, a.attcollation FROM part JOIN pg_catalog.pg_type AS t ON t.oid = part.type
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
)
"""
_COLLATIONS = f"""
{_USES}
SELECT o.oid::bigint AS oid, n.nspname AS schema, o.collname AS name, o.collprovider::text AS provider, o.collversion AS stored,
       pg_catalog.pg_collation_actual_version(o.oid) AS here,
       coalesce(to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale', to_jsonb(o) ->> 'collcollate') AS locale
FROM pg_catalog.pg_collation AS o JOIN pg_catalog.pg_namespace AS n ON n.oid = o.collnamespace
WHERE o.collprovider IN ('c', 'i')
      AND o.oid IN (SELECT oid FROM use)
"""
_PREDEFINED = """
SELECT collprovider::text AS provider, pg_catalog.pg_collation_actual_version(oid) AS version,
       coalesce(to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale', to_jsonb(o) ->> 'collcollate') AS locale
FROM pg_catalog.pg_collation AS o WHERE collprovider = 'i' AND oid < %s
"""
_STORED = "SELECT to_jsonb(d) ->> 'datcollversion' AS version FROM pg_catalog.pg_database AS d WHERE datname = current_database()"
_INDEXES = f"""
{_USES}
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS sql,
       pg_catalog.pg_relation_size(c.oid) AS bytes
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid AND c.relkind = 'i'
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT index FROM use WHERE oid = ANY (%s::oid[])) ORDER BY 2 DESC, 1
"""


class SourceCollation(TypedDict):
    """A collation on the source. provider: ``c`` or ``i``; locale: None for all of the C library; version: on the source's host."""

    provider: str
    locale: str | None
    version: str | None


class Collation(NamedTuple):
    """A collation of indexes in the copy. schema, name: of the collation, empty for the database's default, which has the oid DEFAULT.

    stored: the version that the source recorded for the indexes; here: this host's version.
    """

    oid: int
    schema: str
    name: str
    provider: str
    locale: str
    stored: str | None
    here: str | None


class _Index(NamedTuple):
    """An index. sql: its name in a statement."""

    sql: str
    bytes: int


def of_source(session: Session) -> list[SourceCollation]:
    """The source's collations.

    Besides those of the session's database, the list has the C library and ICU's predefined collations, because other databases of the
    server may use them.
    """
    database = find_database(session, session.settings.database)
    if database is None:
        raise AssertionError("connected to a database that is not listed")
    library: SourceCollation = {"provider": "c", "locale": None, "version": collations.library_version(session)}
    used = map(_on_source, collations.used(session, database)["collations"])
    return [*used, library, *map(_on_source, session.rows(_PREDEFINED, [FIRST_OWN]))]


def _on_source(row: Mapping[str, Any]) -> SourceCollation:
    return {"provider": row["provider"], "locale": row["locale"], "version": row["version"]}


def differs(found: Collation, source: Iterable[SourceCollation]) -> bool:
    """Whether indexes with the collation ``found`` may be in another order than this host's.

    This host's version must equal the recorded version, and the version on the source's host now. If neither is known, the order may
    differ.
    """
    if found.locale in collations.PLAIN:
        return False
    # All locales of the C library have its version.
    same = [
        row["version"]
        for row in source
        if row["provider"] == found.provider and (found.provider == "c" or row["locale"] == found.locale)
    ]
    known = {found.stored, next((version for version in same if version), None)} - {None}
    return known != {found.here}


def rebuild(
    server: PrivateServer,
    source: list[SourceCollation],
    choice: str,
    jobs: int,
    done: list[str],
    on_index: Callable[[str, int], None] = lambda _index, _bytes: None,
    upgraded_from: int | None = None,
) -> list[str]:
    """Rebuild the indexes of every database whose order of text differs here; returns their names.

    source: of ``of_source``. choice: REBUILD, or REFUSE to raise instead. done: indexes that an earlier attempt has rebuilt; those that
    are rebuilt are added. on_index: called with each index that is done, and its bytes. upgraded_from: the source's major version, where
    pg_upgrade has made this copy.

    Raises MigrationError ``collations`` when an index must be rebuilt but ``choice`` is REFUSE, or rows may be in the wrong partitions.
    """
    with Session(server.connection("postgres")) as session:
        names = [row["name"] for row in session.rows(_DATABASES)]
    return [
        index
        for name in names
        for index in _of_database(server, name, source, choice, jobs, done, on_index, upgraded_from)
    ]


def _collations(session: Session, name: str, upgraded_from: int | None) -> tuple[list[Collation], list[str]]:
    """The collations of the database's indexes, its default first; and the tables partitioned by ranges of text."""
    database = find_database(session, name)
    if database is None:
        raise AssertionError("connected to a database that is not listed")
    used = collations.used(session, database)
    default = Collation(
        oid=DEFAULT,
        schema="",
        name="",
        provider=database["locale_provider"],
        locale=database["locale"] or database["lc_collate"],
        stored=session.value(_STORED),
        here=next((row["version"] for row in used["collations"]), None),
    )
    others = [Collation(**row) for row in session.rows(_COLLATIONS)]
    # pg_upgrade keeps the versions that the source recorded for databases and for collations of users. For predefined collations it
    # records this host's version, which says nothing about the indexes.
    if upgraded_from is not None:
        if upgraded_from < DATABASE_RECORDS_SINCE:
            default = default._replace(stored=None)
        others = [each if each.oid >= FIRST_OWN else each._replace(stored=None) for each in others]
    return [default, *others], used["text_partitions"]


def _of_database(
    server: PrivateServer,
    name: str,
    source: list[SourceCollation],
    choice: str,
    jobs: int,
    done: list[str],
    on_index: Callable[[str, int], None],
    upgraded_from: int | None,
) -> list[str]:
    settings = server.connection(name)
    with Session(settings) as session:
        found, text_partitions = _collations(session, name, upgraded_from)
        changed = [each for each in found if differs(each, source)]
        if not changed:
            return []
        indexes = [_Index(**row) for row in session.rows(_INDEXES, [[each.oid for each in changed]])]
        locales = ", ".join(sorted({each.locale for each in changed}))
        if text_partitions:
            raise MigrationError(
                f"This host sorts text of the collation {locales} otherwise than the source, and the rows of {text_partitions[0]} "
                f"in {name!r} may be in the wrong partitions. Use couch2pg_method: stream.",
                "collations",
                partitions=text_partitions,
            )
        if choice == REFUSE and indexes:
            raise MigrationError(
                f"This host sorts text of the collation {locales} otherwise than the source, so {counted(len(indexes), 'index')} of "
                f"{name!r} would "
                "have to be rebuilt, and couch2pg_physical_collations is 'refuse'. Set it to 'rebuild', or use couch2pg_method: stream.",
                "collations",
                indexes=[index.sql for index in indexes],
            )
    lock = threading.Lock()

    def work(session: Session, index: _Index) -> None:
        key = f"{name}: {index.sql}"
        if key not in done:
            session.execute(f"REINDEX INDEX {index.sql}")
            with lock:
                done.append(key)
                on_index(key, index.bytes)

    run_in_sessions(indexes, jobs, lambda: Session(settings), work)
    with Session(settings) as session:
        for each in changed:
            if each.stored is None:
                continue
            if each.oid == DEFAULT:
                session.execute(f"ALTER DATABASE {quote(name)} REFRESH COLLATION VERSION")
            else:
                session.execute(f"ALTER COLLATION {quote(each.schema)}.{quote(each.name)} REFRESH VERSION")
    return [f"{name}: {index.sql}" for index in indexes]
