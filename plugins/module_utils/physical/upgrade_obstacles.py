# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_upgrade would refuse in a copy of the source, found in all databases of the source before anything is copied.

pg_upgrade itself checks the copy again, after the base backup. A test compares its list of checks with this one's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, NamedTuple, TypedDict

from ..common.errors import MigrationError
from ..postgres import every_database
from ..postgres.identifiers import literal
from ..postgres.session import Session

SHOWN = 5
# Stored columns of a type, also within domains, arrays, ranges and composite types. A view stores nothing. The remedy gives the column
# another type that keeps its meaning.
_STORED = """
WITH RECURSIVE bad(oid) AS (
    SELECT t.oid FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace WHERE {condition}
    UNION
    SELECT holder.oid FROM bad JOIN (
        SELECT oid, typbasetype AS held FROM pg_catalog.pg_type WHERE typtype = 'd'
        UNION ALL SELECT oid, typelem FROM pg_catalog.pg_type WHERE typtype = 'b' AND typelem <> 0
        UNION ALL SELECT rngtypid, rngsubtype FROM pg_catalog.pg_range
        UNION ALL SELECT c.reltype, a.atttypid FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
            WHERE c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped
    ) AS holder ON holder.held = bad.oid
), columns AS (
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS relation, pg_catalog.quote_ident(a.attname) AS name, c.relkind AS kind,
           pg_catalog.format_type(a.atttypid, a.atttypmod) AS type
    FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE a.atttypid IN (SELECT oid FROM bad) AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'm', 'i')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast_)?temp_'
)
SELECT pg_catalog.format('the column %s.%s has the type %s', relation, name, type) AS what,
       CASE kind WHEN 'm' THEN pg_catalog.format('DROP MATERIALIZED VIEW %s (create it again with another type)', relation)
                 WHEN 'i' THEN pg_catalog.format('DROP INDEX %s', relation)
                 ELSE pg_catalog.format('ALTER TABLE %1$s ALTER COLUMN %2$s TYPE %3$s USING %2$s::%3$s', relation, name,
                      CASE type WHEN 'abstime' THEN 'timestamptz' WHEN 'reltime' THEN 'interval' ELSE 'text' END) END AS remedy
FROM columns
"""
_COMPOSITE = "t.typtype = 'c' AND (t.oid < 16384 OR n.nspname = 'information_schema')"
_REG = """
n.nspname = 'pg_catalog' AND t.typname IN
    ('regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', 'regproc', 'regprocedure')
"""
_ACLITEM = "n.nspname = 'pg_catalog' AND t.typname = 'aclitem'"
_IDENTIFIER = "n.nspname = 'information_schema' AND t.typname = 'sql_identifier'"
_TIMES = "n.nspname = 'pg_catalog' AND t.typname IN ('abstime', 'reltime', 'tinterval')"
_OIDS = """
SELECT pg_catalog.format('the table %s is WITH OIDS', c.oid::pg_catalog.regclass) AS what,
       pg_catalog.format('ALTER TABLE %s SET WITHOUT OIDS', c.oid::pg_catalog.regclass) AS remedy
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relhasoids AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_POSTFIX = """
SELECT 'the postfix operator ' || operator AS what, 'DROP OPERATOR ' || operator AS remedy FROM (
    SELECT pg_catalog.format('%I.%s (%s, NONE)', n.nspname, o.oprname, pg_catalog.format_type(o.oprleft, NULL)) AS operator
    FROM pg_catalog.pg_operator AS o JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
    WHERE o.oprright = 0 AND o.oid >= 16384) AS found
"""
_CONVERSIONS = """
SELECT pg_catalog.format('the encoding conversion %I.%I', n.nspname, c.conname) AS what,
       pg_catalog.format('DROP CONVERSION %I.%I', n.nspname, c.conname) AS remedy
FROM pg_catalog.pg_conversion AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.connamespace WHERE c.oid >= 16384
"""
# Aggregates and operators of users that use a system function whose pseudo-types changed in PostgreSQL 14.
_POLYMORPHIC = """
WITH pseudo AS (SELECT ARRAY['anyarray'::pg_catalog.regtype, 'anyelement'::pg_catalog.regtype]::pg_catalog.oid[] AS types),
changed AS (
    SELECT p.oid FROM pg_catalog.pg_proc AS p, pseudo WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proname IN (
        'array_append', 'array_cat', 'array_prepend', 'array_remove', 'array_replace', 'array_position', 'array_positions', 'width_bucket')
    AND p.proargtypes::pg_catalog.oid[] && types
), made AS (
    SELECT 'aggregate' AS kind, a.aggfnoid::pg_catalog.oid::pg_catalog.regprocedure::text AS name FROM pg_catalog.pg_aggregate AS a, pseudo
    WHERE a.aggfnoid >= 16384 AND a.aggtranstype = ANY (types)
          AND (a.aggtransfn IN (SELECT oid FROM changed) OR a.aggfinalfn IN (SELECT oid FROM changed))
    UNION ALL
    SELECT 'operator', o.oid::pg_catalog.regoperator::text FROM pg_catalog.pg_operator AS o, pseudo
    WHERE o.oid >= 16384 AND o.oprcode IN (SELECT oid FROM changed) AND o.oprleft = ANY (types)
)
SELECT pg_catalog.format('the %s %s uses a function whose arguments changed in PostgreSQL 14', kind, name) AS what,
       pg_catalog.format('DROP %s %s (create it on the target again, with anycompatiblearray)', pg_catalog.upper(kind), name) AS remedy
FROM made
"""
_NOT_NULL = """
SELECT DISTINCT pg_catalog.format('the column %s.%I lacks the NOT NULL of the parent table', own.attrelid::pg_catalog.regclass, own.attname)
           AS what,
       pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', own.attrelid::pg_catalog.regclass, own.attname) AS remedy
FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f')
JOIN pg_catalog.pg_attribute AS parent ON parent.attrelid = i.inhparent AND parent.attnum > 0 AND NOT parent.attisdropped
JOIN pg_catalog.pg_attribute AS own ON own.attrelid = i.inhrelid AND own.attname = parent.attname
WHERE parent.attnotnull AND NOT own.attnotnull
"""
_SUBSCRIPTIONS = """
SELECT pg_catalog.format('the subscription %s is copying %s', s.subname, r.srrelid::pg_catalog.regclass) AS what,
       pg_catalog.format('ALTER SUBSCRIPTION %I ENABLE (and wait until it is done)', s.subname) AS remedy
FROM pg_catalog.pg_subscription_rel AS r JOIN pg_catalog.pg_subscription AS s ON s.oid = r.srsubid WHERE r.srsubstate NOT IN ('i', 'r')
"""
_LIBRARIES = """
SELECT DISTINCT p.probin AS name FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
WHERE l.lanname = 'c' AND p.probin IS NOT NULL AND p.oid >= 16384 ORDER BY 1
"""
_CLOSED = """
SELECT pg_catalog.format('the database %s allows no connections', datname) AS what,
       CASE WHEN datconnlimit <> -2 THEN pg_catalog.format('ALTER DATABASE %1$I ALLOW_CONNECTIONS true (or DROP DATABASE %1$I)', datname)
            ELSE pg_catalog.format('DROP DATABASE %I', datname) END AS remedy
FROM pg_catalog.pg_database WHERE datname <> 'template0' AND (NOT datallowconn OR datconnlimit = -2)
UNION ALL
SELECT 'template0 allows connections', 'ALTER DATABASE template0 ALLOW_CONNECTIONS false'
FROM pg_catalog.pg_database WHERE datname = 'template0' AND datallowconn
"""


class _Check(NamedTuple):
    """A check of sources of major versions ``first`` to ``last``, for targets from ``target`` on. sql: returns ``what``, ``remedy``."""

    kind: str
    first: int
    last: int
    target: int
    sql: str


_ANY = 999
_IN_DATABASES = (
    _Check("type", 0, _ANY, 0, _STORED.replace("{condition}", _COMPOSITE)),
    _Check("type", 0, _ANY, 0, _STORED.replace("{condition}", _REG)),
    _Check("type", 0, 15, 16, _STORED.replace("{condition}", _ACLITEM)),
    _Check("type", 0, 11, 12, _STORED.replace("{condition}", _IDENTIFIER)),
    _Check("type", 0, 11, 12, _STORED.replace("{condition}", _TIMES)),
    _Check("oids", 0, 11, 12, _OIDS),
    _Check("postfix operator", 0, 13, 14, _POSTFIX),
    _Check("conversion", 0, 13, 14, _CONVERSIONS),
    _Check("polymorphic", 0, 13, 14, _POLYMORPHIC),
    _Check("not null", 0, 17, 0, _NOT_NULL),
    _Check("subscription", 17, _ANY, 17, _SUBSCRIPTIONS),
)
_OF_THE_SERVER = (_Check("database", 0, _ANY, 0, _CLOSED),)


class Obstacle(TypedDict):
    """Something on the source that pg_upgrade refuses.

    target: the first major version of a target that refuses it. what: the object, with its name. remedy: what to do in ``database``.
    """

    kind: str
    database: str
    target: int
    what: str
    remedy: str


class UpgradeFacts(TypedDict):
    """What pg_upgrade looks at in the source. libraries: of functions in C, by database; unread: databases that refuse this login."""

    obstacles: list[Obstacle]
    libraries: dict[str, list[str]]
    unread: list[str]


NOTHING: UpgradeFacts = {"obstacles": [], "libraries": {}, "unread": []}


def find(session: Session) -> UpgradeFacts:
    """The obstacles and libraries in all databases of the session's server."""
    obstacles = _ask(session, _OF_THE_SERVER)
    libraries, unread = {}, []
    for name, inside in every_database.sessions(session):
        if inside is None:
            unread.append(name)
            continue
        obstacles += _ask(inside, _IN_DATABASES)
        libraries[name] = [str(found["name"]) for found in inside.rows(_LIBRARIES)]
    return {
        "obstacles": obstacles,
        "libraries": {name: found for name, found in libraries.items() if found},
        "unread": unread,
    }


def _ask(session: Session, checks: Iterable[_Check]) -> list[Obstacle]:
    return [
        Obstacle(
            kind=each.kind,
            database=session.settings.database,
            target=each.target,
            what=row["what"],
            remedy=row["remedy"],
        )
        for each in checks
        if each.first <= session.version // 10000 <= each.last
        for row in session.rows(f"{each.sql} ORDER BY 1")
    ]


def check(session: Session, found: UpgradeFacts, source_major: int, target_major: int) -> str:
    """Raise MigrationError ``target_too_old``, or ``upgrade_refused`` for what pg_upgrade to the session's server would refuse.

    session: of the target's server; found: of ``find``.
    """
    if source_major == target_major:
        return "not needed: both servers have the same major version"
    if source_major > target_major:
        raise MigrationError(
            f"The target is PostgreSQL {target_major}, older than the source ({source_major}), and a downgrade is not possible. "
            f"Install PostgreSQL {source_major} or newer on the target.",
            "target_too_old",
        )
    obstacles = [obstacle for obstacle in found["obstacles"] if target_major >= obstacle["target"]]
    folder = Path(str(session.value("SELECT setting FROM pg_catalog.pg_config WHERE name = 'PKGLIBDIR'")))
    missing = {
        name: database
        for database, names in found["libraries"].items()
        for name in names
        if not _library_exists(folder, name)
    }
    obstacles += [
        Obstacle(
            kind="library",
            database=database,
            target=0,
            what=f"functions use the library {name}, which the target lacks in {folder}",
            remedy=f"install its package for PostgreSQL {target_major} on the target, or drop what uses it: SELECT oid::regprocedure FROM "
            f"pg_proc WHERE probin = {literal(name)}",
        )
        for name, database in sorted(missing.items())
    ]
    if not obstacles:
        unread = (
            f"; not looked into, because it refuses the login: {', '.join(found['unread'])}" if found["unread"] else ""
        )
        return f"nothing on the source that pg_upgrade to PostgreSQL {target_major} refuses{unread}"
    shown = "; ".join(f"in database {row['database']}, {row['what']}: {row['remedy']}" for row in obstacles[:SHOWN])
    more = f"; and {len(obstacles) - SHOWN} more, see the details" if len(obstacles) > SHOWN else ""
    raise MigrationError(
        f"pg_upgrade from PostgreSQL {source_major} to {target_major} would refuse the copy. Correct this on the source, or set "
        f"couch2pg_method to stream: {shown}{more}.",
        "upgrade_refused",
        obstacles=obstacles,
    )


def _library_exists(folder: Path, name: str) -> bool:
    path = Path(name.replace("$libdir", str(folder), 1)) if name.startswith("$libdir") else folder / name
    return path.exists() or path.with_name(f"{path.name}.so").exists()
