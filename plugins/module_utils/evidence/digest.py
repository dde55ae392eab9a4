# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row counts and content digests of tables, equal on two servers exactly when their rows are.

Every column becomes text (or, for floats, the hex of its bytes), every text a hash, the hashes of a row one hash,
and the hashes of all rows one sum. A sum doesn't depend on the order of rows, counts a duplicate twice, and can be
computed in pieces. So a table needs no primary key, and several workers can read a large one at once.

Generated columns are not read, because each server computes them with its own library and functions.

Columns are hashed in their order. Those of an inheritance child are hashed in the order of their names, because pg_dump
puts inherited columns first: a column that the parent got later is in another place in a restored child.

The hash of text depends on the bytes of the server's encoding and, for PostgreSQL's own hashes, on the byte order of
its processor; both servers must agree in these. ``session_settings`` pins the settings that change text.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Callable, ContextManager, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ..common.errors import MigrationError
from ..common.evidence_rows import DigestDocument
from ..postgres.identifiers import quote
from ..postgres.relations import Table
from ..postgres.row_types import PARTS
from ..postgres.session import Session
from ..postgres.session_settings import PINNED
from ..postgres.workers import Growing, run_in_sessions
from . import planning_path

HASHES_SINCE = 110000
SHORTEST_FLOATS_SINCE = 120000
METHODS = {
    "hash64": "PostgreSQL's 64-bit hash of each row's text: exact",
    "hash128": "two 64-bit hashes of each row's text: exact, wider, slower",
    "md5": "MD5 of each row's text: exact, any version, slowest",
    "semantic": "PostgreSQL's hash of jsonb values, twice 64 bits: fast, but takes 1.0 and 1.00 for equal",
}
CHUNK_BYTES = 32 * 1024 * 1024
_JSONB = 3802
_BYTEA = 17
# real, double precision, and the geometric types, which are made of them.
_FLOATS = "(700, 701, 600, 601, 602, 603, 604, 628, 718)"

_COLUMNS = f"""
WITH RECURSIVE part(root, type) AS (
    SELECT oid, oid FROM pg_catalog.pg_type
    WHERE oid IN (SELECT atttypid FROM pg_catalog.pg_attribute WHERE attrelid = ANY(%(oids)s::oid[]) AND attnum > 0)
  UNION
{PARTS})
SELECT a.attrelid::bigint AS table, a.attname AS name,
       EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = a.attrelid) AS inherited,
       a.atttypid::bigint AS type, coalesce(s.proname, '') AS send,
       pg_catalog.format_type(b.oid, NULL) AS base, b.oid < 16384 AND a.atttypid IN (
           SELECT root FROM part WHERE type IN {_FLOATS}
       ) OR b.typtype = 'r' AND EXISTS (
           SELECT FROM pg_catalog.pg_range AS r WHERE r.rngtypid = b.oid AND r.rngsubtype IN (700, 701)
       ) AS hashed_as_bytes,
       -- Somebody's cast to text may lose what the type's output shows.
       CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_cast AS k WHERE k.castsource = b.oid AND k.casttarget = 25 AND k.castmethod = 'f'
                         AND k.oid >= 16384) THEN pg_catalog.format('%%I.%%I', n.nspname, o.proname) END AS output,
       -- A base type that isn't PostgreSQL's own may hold floats (cube does).
       a.atttypid IN (SELECT root FROM part JOIN pg_catalog.pg_type AS p ON p.oid = part.type
                      WHERE type IN {_FLOATS} OR type >= 16384 AND p.typtype = 'b' AND p.typcategory <> 'A') AS may_hold_floats
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type AS b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_proc AS s ON s.oid = b.typsend
JOIN pg_catalog.pg_proc AS o ON o.oid = b.typoutput JOIN pg_catalog.pg_namespace AS n ON n.oid = o.pronamespace
WHERE a.attrelid = ANY(%(oids)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
      AND coalesce(to_jsonb(a) ->> 'attgenerated', '') = ''
ORDER BY a.attrelid, a.attnum
"""


@dataclass(frozen=True)
class TableDigest:
    """Rows and digest of one table."""

    table: str
    rows: int
    digest: str
    search_path: str = ""
    by_name: bool = False
    rounded: bool = False
    tree: str = ""

    def as_dict(self) -> DigestDocument:
        """The digest as JSON types, for evidence and results."""
        found: DigestDocument = {"table": self.table, "rows": self.rows, "digest": self.digest}
        if self.search_path:
            found["search_path"] = self.search_path
        if self.by_name:
            found["by_name"] = True
        if self.rounded:
            found["rounded"] = True
        if self.tree:
            found["tree"] = self.tree
        return found


class Column(NamedTuple):
    """A column that is hashed.

    table, type: oids; inherited: whether the table is an inheritance child; send: the function that gives the bytes of a value, or empty.
    base: the name of the type, or of a domain's base type. hashed_as_bytes: in place of its text, because that has floats.
    output: the type's output function where a cast to text was created, else None. may_hold_floats: also in parts of the value.
    """

    table: int
    name: str
    inherited: bool
    type: int
    send: str
    base: str
    hashed_as_bytes: bool
    output: str | None
    may_hold_floats: bool

    @property
    def is_text_of_floats(self) -> bool:
        """Whether the text that is hashed may have floats."""
        return self.may_hold_floats and not self.hashed_as_bytes


@dataclass(frozen=True)
class Recipe:
    """How the rows of one table are hashed.

    columns: in the order in which they are hashed. search_path: with which the table is read. rounded: whether the text of floats has 15
    digits, which every version prints in the same way.
    """

    method: str
    columns: list[Column]
    search_path: str = ""
    by_name: bool = False
    rounded: bool = False

    def digest(self, table: Table, rows: int, sums: Sequence[int]) -> TableDigest:
        """The digest of the table, given the sums of ``copy_out`` over all its rows."""
        return TableDigest(table.key, rows, _format(sums), self.search_path, self.by_name, self.rounded, table.tree)

    @contextmanager
    def settings(self, session: Session) -> Iterator[None]:
        """Give the session the settings with which the rows are read, until the end of the block."""
        if self.search_path:
            planning_path.use(session, self.search_path)
        if self.rounded:
            session.execute("SET extra_float_digits = 0")
        yield
        if self.rounded:
            session.execute(f"SET extra_float_digits = {PINNED['extra_float_digits']}")
        if self.search_path:
            planning_path.use(session, "")


@dataclass(frozen=True)
class _Chunk:
    """Blocks ``first`` up to, not including, ``end`` of a table (None: to its end)."""

    table: Table
    first: int
    end: int | None
    weight: int


def choose_method(wanted: str, older_version: int) -> str:
    """The method for two servers of which the older has ``older_version`` (``server_version_num``).

    Raises MigrationError ``digest_method`` when the wanted one needs a newer server.
    """
    if wanted == "auto":
        return "hash64" if older_version >= HASHES_SINCE else "md5"
    if wanted != "md5" and older_version < HASHES_SINCE:
        raise MigrationError(
            f"The digest method {wanted!r} needs PostgreSQL 11 on both servers, and one has "
            f"{older_version // 10000}. Use 'auto' or 'md5'.",
            "digest_method",
        )
    return wanted


def digest_tables(
    tables: list[Table],
    method: str,
    workers: int | Growing,
    open_session: Callable[[], Session],
    on_progress: Callable[[int, str], None] = lambda _bytes, _table: None,
    stop: threading.Event | None = None,
    like: Sequence[DigestDocument] | None = None,
    reading: Callable[[Session, Table], ContextManager[Session]] = lambda session, _table: nullcontext(session),
) -> list[TableDigest]:
    """The digest of every table, in the order given.

    ``like``: digests (of ``as_dict``) that these are compared with, which must be taken in the same way: with the same
    search_path, because the text of some types depends on it, with the columns in the same order and with as many digits of
    floats. None: this call finds out what each table needs.

    ``open_session`` makes each worker's session. ``reading`` yields the session that reads a table in the worker's place
    (``HeldSnapshot.reading``, where a snapshot matters). ``on_progress`` is called with the bytes
    and the table of each piece that is done; ``stop`` ends the work early with MigrationError ``stopped``.
    """

    def work(session: Session, chunk: _Chunk) -> tuple[int, list[int]]:
        recipe = found[chunk.table.key]
        with reading(session, chunk.table) as reader, recipe.settings(reader):
            row = reader.row(_query(recipe, chunk))
        on_progress(chunk.weight, chunk.table.key)
        return row.pop("count"), [int(part) for part in row.values()]

    found = recipes(tables, method, open_session, like)
    with open_session() as session:
        block_size = int(session.value("SELECT pg_catalog.current_setting('block_size')"))
        version = session.version
    count = workers.count if isinstance(workers, Growing) else workers
    chunks = [chunk for table in tables for chunk in _split(table, block_size, count, version)]
    counts = {table.key: 0 for table in tables}
    sums: dict[str, list[int]] = {}
    for chunk, (count, parts) in zip(chunks, run_in_sessions(chunks, workers, open_session, work, stop)):
        key = chunk.table.key
        counts[key] += count
        sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(parts)), parts)]
    return [found[table.key].digest(table, counts[table.key], sums[table.key]) for table in tables]


def recipes(
    tables: list[Table],
    method: str,
    open_session: Callable[[], Session],
    like: Sequence[DigestDocument] | None = None,
) -> dict[str, Recipe]:
    """How the rows of each table are hashed, by ``schema.name``. ``like``: see ``digest_tables``."""
    own = planning_path.find(tables, open_session) if like is None else _paths_of(like)
    with open_session() as session:
        columns = _columns(session, tables)
        before_shortest = session.version < SHORTEST_FLOATS_SINCE
    by_name = _by_name(like, tables, columns)
    for table in tables:
        if table.key in by_name:
            columns.get(table.oid, []).sort(key=lambda column: column.name)
    rounded = {
        table.key
        for table in tables
        if like is None and before_shortest and any(column.is_text_of_floats for column in columns.get(table.oid, []))
    }.union(row["table"] for row in like or () if row.get("rounded"))
    return {
        table.key: Recipe(
            method, columns.get(table.oid, []), own.get(table.key, ""), table.key in by_name, table.key in rounded
        )
        for table in tables
    }


def _paths_of(digests: Iterable[DigestDocument]) -> dict[str, str]:
    """The search_path of each table that has one."""
    return {row["table"]: row["search_path"] for row in digests if row.get("search_path")}


def _by_name(
    like: Sequence[DigestDocument] | None, tables: list[Table], columns: Mapping[int, list[Column]]
) -> set[str]:
    """The tables whose columns are hashed in the order of their names."""
    if like is not None:
        return {row["table"] for row in like if row.get("by_name")}
    return {table.key for table in tables if any(column.inherited for column in columns.get(table.oid, []))}


def _split(table: Table, block_size: int, workers: int, version: int) -> list[_Chunk]:
    """Pieces of about 32 MiB with TOAST; before PostgreSQL 14 every piece reads the whole heap, so there are few."""
    blocks = table.heap_bytes // block_size
    pieces = min(-(-table.table_bytes // CHUNK_BYTES), max(blocks, 1))
    if version < 140000:
        pieces = min(pieces, workers)
    pieces = max(pieces, 1)
    bounds = [blocks * number // pieces for number in range(pieces)]
    # The shares of the chunks must add up to the exact total.
    weights = [table.table_bytes * (n + 1) // pieces - table.table_bytes * n // pieces for n in range(pieces)]
    return [
        _Chunk(table, first, end, weight)
        # The last chunk has no end, so rows are not missed when the table has grown.
        for first, end, weight in zip(bounds, [*bounds[1:], None], weights)
    ]


def _columns(session: Session, tables: list[Table]) -> dict[int, list[Column]]:
    """The columns of all tables, with one query, because there may be thousands of tables."""
    found: dict[int, list[Column]] = {}
    for row in session.rows(_COLUMNS, {"oids": [table.oid for table in tables]}):  # type: ignore[arg-type]
        column = Column(**row)
        found.setdefault(column.table, []).append(column)
    return found


def _query(recipe: Recipe, chunk: _Chunk) -> str:
    where = f"ctid >= '({chunk.first},0)'::pg_catalog.tid"
    if chunk.end is not None:
        where += f" AND ctid < '({chunk.end},0)'::pg_catalog.tid"
    source = f"FROM ONLY {chunk.table.sql} WHERE {where}"
    if not recipe.columns:
        return f"SELECT pg_catalog.count(*) AS count, 0 AS s0 {source}"
    sums = [
        f"coalesce(pg_catalog.sum({part}), 0::pg_catalog.numeric) AS s{number}"
        for number, part in enumerate(_parts(recipe.method))
    ]
    texts = ", ".join(f"{_text(column, recipe.method)} AS c{number}" for number, column in enumerate(recipe.columns))
    # OFFSET 0 prevents the planner from flattening the subqueries, which would compute each text twice.
    return (
        f"SELECT pg_catalog.count(*) AS count, {', '.join(sums)} "
        f"FROM (SELECT {_rows(recipe)} FROM (SELECT {texts} {source} OFFSET 0) AS t OFFSET 0) AS r"
    )


def copy_out(recipe: Recipe, names: Sequence[str], source: str) -> str:
    """A query for the columns ``names`` of all rows of ``source`` (``FROM ... WHERE ...``), which also sums the hashes of the rows.

    So each document is converted to text only once. Call ``start_sums`` before it, and ``read_sums`` after all rows are read.
    """
    texts, shown = [], []
    for number, column in enumerate(recipe.columns):
        text = _text(column, recipe.method)
        # COPY writes jsonb, and this text of it, in the same way. So the text that is hashed is also copied.
        shared = column.type == _JSONB and recipe.method != "semantic"
        texts.append(
            f"{'pg_catalog.textin(pg_catalog.jsonb_out(' + quote(column.name) + '))' if shared else text} AS c{number}"
        )
        if column.name in names:
            if not shared:
                texts.append(f"{quote(column.name)} AS v{number}")
            shown.append((names.index(column.name), f"{'c' if shared else 'v'}{number}"))
    kept = ", ".join(name for _position, name in sorted(shown))
    added = " AND ".join(
        # The condition must never be NULL, which would drop the row.
        f"pg_catalog.set_config('{_setting(number)}', (pg_catalog.current_setting('{_setting(number)}')::pg_catalog.numeric "
        f"+ coalesce({part}, 0))::pg_catalog.text, false) IS NOT NULL"
        for number, part in enumerate(_parts(recipe.method))
    )
    return (
        f"SELECT {kept} FROM (SELECT {kept}, {_rows(recipe)} FROM (SELECT {', '.join(texts)} {source} OFFSET 0) AS t OFFSET 0) AS r "
        f"WHERE {added}"
    )


def start_sums(session: Session, method: str) -> None:
    """Begin the sums of ``copy_out`` in this session."""
    for number in range(len(_parts(method))):
        session.execute("SELECT pg_catalog.set_config(%s, '0', false)", [_setting(number)])


def read_sums(session: Session, method: str) -> list[int]:
    """The sums of the hashes since ``start_sums``."""
    names = [_setting(number) for number in range(len(_parts(method)))]
    return [int(session.value("SELECT pg_catalog.current_setting(%s)", [name])) for name in names]


def _setting(number: int) -> str:
    return f"couch2pg_digest.s{number}"


def _seeds(method: str) -> tuple[int, ...]:
    return (0, 1) if method in ("hash128", "semantic") else (0,)


def _rows(recipe: Recipe) -> str:
    """The hashes of the columns ``c0``, ``c1`` ... as one text for each seed: ``r0``, ``r1``."""
    return ", ".join(
        f"ARRAY[{', '.join(_hash(column, f'c{number}', recipe.method, seed) for number, column in enumerate(recipe.columns))}]"
        f'::pg_catalog.text COLLATE "C" AS r{seed}'
        for seed in _seeds(recipe.method)
    )


def _text(column: Column, method: str) -> str:
    """The column as something to hash, the same on every server for the same value."""
    name = quote(column.name)
    if method == "semantic" and column.type == _JSONB:
        return name
    if column.hashed_as_bytes:
        # The text of floats differs before and from PostgreSQL 12; their bytes don't. User-defined types except ranges stay text
        # (``Recipe.rounded``), because their bytes contain oids of types, which differ between servers.
        return f"pg_catalog.encode(pg_catalog.{quote(column.send)}({name}::{column.base}), 'hex')"
    if column.type == _BYTEA:
        # As text it has twice the size, which could exceed the limit of 1 GB for a value.
        return f"pg_catalog.md5({name})"
    if column.output:
        return f"pg_catalog.textin({column.output}({name}::{column.base}))"
    return f"{name}::pg_catalog.text"


def _hash(column: Column, name: str, method: str, seed: int) -> str:
    if method == "md5":
        return f"pg_catalog.md5({name})"
    if method == "semantic" and column.type == _JSONB:
        return f"pg_catalog.jsonb_hash_extended({name}, {seed})"
    return f'pg_catalog.hashtextextended({name} COLLATE "C", {seed})'


def _parts(method: str) -> list[str]:
    """SQL expressions of the numbers (64 bits each) that a row adds to the sums."""
    if method == "md5":
        return [
            f"('x' || pg_catalog.substr(pg_catalog.md5(r0), {start}, 16))::pg_catalog.bit(64)::pg_catalog.int8"
            for start in (1, 17)
        ]
    return [f"pg_catalog.hashtextextended(r{seed}, {seed})" for seed in _seeds(method)]


def _format(sums: Sequence[int]) -> str:
    """Each sum as 32 hex digits: wide enough that none of up to 2^63 rows is lost to overflow."""
    return ":".join(format(total % (1 << 128), "032x") for total in sums)


def together(digests: Sequence[str]) -> str:
    """The digest of the rows of several tables, whose columns were hashed in the same order."""
    parts = [[int(part, 16) for part in text.split(":")] for text in digests]
    return _format([sum(column) for column in zip(*parts)])
