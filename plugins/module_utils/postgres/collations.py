# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collations that a database uses, with their library versions: a difference can change the order of text."""

from __future__ import annotations

import os
from typing import TypedDict, cast

from ..common.errors import MigrationError
from ..common.evidence_document import DatabaseProperties
from . import server_folders
from .identifiers import literal
from .relations import USER_SCHEMAS
from .session import Session

# These sort by code point, independently of the library's version.
PLAIN = ("C", "POSIX", "C.UTF-8", "C.utf8")
# The SQLSTATE for a locale that the server doesn't have, and for a collation library that it was built without.
_INVALID_VALUE, _NOT_SUPPORTED = "22023", "0A000"
DATABASE_VERSION_SINCE, LIBC_VERSION_SINCE = 150000, 130000

# Collations of columns other than the database's default.
_USED = f"""
SELECT DISTINCT o.collprovider::text AS provider, coalesce(
    to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale', to_jsonb(o) ->> 'collcollate') AS locale,
    pg_catalog.pg_collation_actual_version(o.oid) AS version
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_collation AS o ON o.oid = a.attcollation
WHERE c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMAS}
  AND o.collprovider IN ('c', 'i')
ORDER BY 1, 2
"""
# The version of the C library, which all of its locales have. The database's own locale may have another spelling in pg_collation, such as
# utf8, so any locale is taken.
_OF_LIBC = """
SELECT pg_catalog.pg_collation_actual_version(oid) AS version FROM pg_catalog.pg_collation
WHERE collprovider = 'c' AND collcollate NOT IN ('C', 'POSIX', '') AND collcollate NOT LIKE 'C.%' LIMIT 1
"""
# A locale that was installed after initdb may be used by a database, but is missing in pg_collation.
_OF_DATABASES = """
SELECT pg_catalog.pg_database_collation_actual_version(oid) AS version FROM pg_catalog.pg_database
WHERE datlocprovider = 'c' AND datcollate NOT IN ('C', 'POSIX') AND datcollate NOT LIKE 'C.%' LIMIT 1
"""
# Tables partitioned by ranges of text, or by a hash of text with a nondeterministic collation: the partition of a row depends on the
# collation.
_PARTITIONS = f"""
SELECT DISTINCT n.nspname || '.' || c.relname AS name
FROM pg_catalog.pg_partitioned_table AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.partrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE {USER_SCHEMAS} AND EXISTS (
    SELECT FROM unnest(p.partcollation) AS k(oid) JOIN pg_catalog.pg_collation AS o ON o.oid = k.oid
    WHERE o.collname NOT IN ('C', 'POSIX')
      AND (p.partstrat = 'r' OR p.partstrat = 'h' AND to_jsonb(o) ->> 'collisdeterministic' = 'false')) ORDER BY 1
"""


class UsedCollation(TypedDict):
    """A collation of the C library or ICU. version: of that library on the host, None when it has none or it can't be determined."""

    provider: str
    locale: str
    version: str | None


class Sorting(TypedDict):
    """What the order of a database's text depends on. text_partitions: tables whose partitions depend on it."""

    collations: list[UsedCollation]
    text_partitions: list[str]


def used(session: Session, database: DatabaseProperties) -> Sorting:
    """The collations of the session's database, its default first. ``database``: as ``find_database`` returns it."""
    default: UsedCollation = {
        "provider": database["locale_provider"],
        "locale": database["locale"] or database["lc_collate"],
        "version": _database_version(session, database),
    }
    listed = [default, *cast("list[UsedCollation]", session.rows(_USED))]
    return {
        "collations": [row for row in listed if row["locale"] not in PLAIN and row["provider"] in ("c", "i")],
        "text_partitions": [row["name"] for row in session.rows(_PARTITIONS)],
    }


def _database_version(session: Session, database: DatabaseProperties) -> str | None:
    if session.version >= DATABASE_VERSION_SINCE:
        found = session.value(
            "SELECT pg_catalog.pg_database_collation_actual_version(oid) FROM pg_catalog.pg_database WHERE oid = %s",
            [database["oid"]],
        )
    else:
        # Before version 15, the C library is the only provider of databases.
        found = library_version(session)
    return None if found is None else str(found)


def library_version(session: Session) -> str | None:
    """The version of the C library of the server's host, as PostgreSQL names it; None when it can't be determined."""
    if session.version >= LIBC_VERSION_SINCE:
        asked = [_OF_LIBC, _OF_DATABASES] if session.version >= DATABASE_VERSION_SINCE else [_OF_LIBC]
        return next((row["version"] for query in asked for row in session.rows(query)), None)
    # Before version 13 PostgreSQL doesn't report it, but a server on this host uses this host's library.
    return None if server_folders.find(session).data is None else _library()


def _library() -> str | None:
    """The version of this host's glibc, in PostgreSQL's notation."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1]
    except (ValueError, OSError, IndexError):
        return None


def version_here(session: Session, provider: str, locale: str) -> str | None:
    """The version of a collation on the session's server. The collation is created in a transaction that is rolled back.

    None when the collation has no version, or when it can't be created here. Raises MigrationError ``locale_missing``.
    """
    if provider != "i":
        check_libc(session, locale)
    kind = "icu" if provider == "i" else "libc"
    session.execute("BEGIN")
    try:
        session.execute(f"CREATE COLLATION pg_temp.couch2pg_tried (PROVIDER = {kind}, LOCALE = {literal(locale)})")
        found = session.value("SELECT collversion FROM pg_catalog.pg_collation WHERE collname = 'couch2pg_tried'")
        return None if found is None else str(found)
    except MigrationError as error:
        if provider == "i" and error.details.get("sqlstate") == _NOT_SUPPORTED:
            raise MigrationError(
                f"The target's server was built without ICU, which the locale {locale!r} of the source needs. "
                "Use PostgreSQL packages that have ICU.",
                "locale_missing",
            ) from error
        if provider == "i" and error.details.get("sqlstate") == _INVALID_VALUE:
            raise MigrationError(
                f"The target's ICU library doesn't know the locale {locale!r} of the source. "
                "Install a version of ICU on the target that knows it.",
                "locale_missing",
            ) from error
        # The role may not create collations, or the locale has another encoding than this database. CREATE DATABASE will check the locale.
        if error.code != "sql":
            raise
        return None
    finally:
        session.execute("ROLLBACK")


def check_libc(session: Session, locale: str) -> None:
    """Raise MigrationError ``locale_missing`` when the C library of the session's server doesn't have ``locale``."""
    session.execute("BEGIN")
    try:
        # lc_time, because any role may set it, and any encoding is allowed.
        session.execute("SELECT pg_catalog.set_config('lc_time', %s, true)", [locale])
    except MigrationError as error:
        if error.details.get("sqlstate") != _INVALID_VALUE:
            raise
        raise MigrationError(
            f"The C library on the target's host doesn't have the locale {locale!r} of the source. Install it there (Debian: "
            "add it to /etc/locale.gen, run locale-gen), restart PostgreSQL, then run again.",
            "locale_missing",
        ) from error
    finally:
        session.execute("ROLLBACK")


def import_system(session: Session) -> None:
    """Create the missing collations of locales that were installed on the host after initdb.

    A new database only has the collations that initdb created. Does nothing unless the role is a superuser.
    """
    if session.value("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"):
        session.execute("SELECT pg_catalog.pg_import_system_collations('pg_catalog')")
