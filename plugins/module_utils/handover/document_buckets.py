# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of a database's documents and their revisions, a few bytes for each bucket of documents.

The hash of a document's ``_id`` selects its bucket, and a bucket's digest is the sum of the hashes of ``_id`` and ``_rev``. With these
digests, two servers that can't reach each other find the few buckets in which they differ, and list only the documents of those.
"""

from __future__ import annotations

import base64
import json
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from typing import Callable, ContextManager, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple, TypedDict

from ..common.counted import counted
from ..common.errors import MigrationError
from ..postgres.relations import Table
from ..postgres.session import Session
from ..postgres.workers import run_in_sessions

TABLES = ("couchdb", "couchdb_users_meta", "couchdb_medic_logs", "couchdb_medic_users")
LEAST_BUCKETS = 4096
MOST_BUCKETS = 65536
CHUNK_BYTES = 256 * 1024 * 1024
_MASK = (1 << 64) - 1

# Table, _id and _rev of a row. A document may have several rows.
Revision = Tuple[str, str, str]
Digests = Dict[str, List[int]]
# Yields the session that reads a table in the worker's place, as HeldSnapshot.reading does.
Reading = Callable[[Session, Table], ContextManager[Session]]

# The hashes are equal on every version, encoding and processor. A row whose document is null doesn't count: couch2pg inserts it when a
# document is deleted at the same moment.
_DOCUMENTS = """
SELECT doc ->> '_id' AS id, coalesce(doc ->> '_rev', '') AS rev
FROM ONLY {table} WHERE {where} AND doc ->> '_id' IS NOT NULL OFFSET 0
"""
_HASH = "('x' || pg_catalog.substr(pg_catalog.md5(pg_catalog.convert_to({text}, 'UTF8')), 1, 16))::pg_catalog.bit(64)::pg_catalog.int8"
_BUCKET = f"(({_HASH.format(text='d.id')}) & {{mask}})"
_DIGESTS = f"""
SELECT {_BUCKET} AS bucket, pg_catalog.count(*) AS documents,
       pg_catalog.sum({_HASH.format(text="d.id || pg_catalog.chr(10) || d.rev")}) AS digest
FROM ({_DOCUMENTS}) AS d GROUP BY 1
"""
_LISTED = f"SELECT d.id, d.rev FROM ({_DOCUMENTS}) AS d WHERE {_BUCKET} = ANY (%s) LIMIT %s"


@dataclass(frozen=True)
class Piece:
    """The blocks from ``first`` to before ``end`` (None: the end of the table), about ``weight`` bytes."""

    table: Table
    first: int
    end: int | None
    weight: int

    @property
    def where(self) -> str:
        """The SQL condition that selects its rows."""
        until = "" if self.end is None else f" AND ctid < '({self.end},0)'::pg_catalog.tid"
        return f"ctid >= '({self.first},0)'::pg_catalog.tid{until}"


class DigestedBucket(NamedTuple):
    """A row of _DIGESTS: a bucket of one piece. digest: the sum of the hashes of its documents."""

    bucket: int
    documents: int
    digest: Decimal


@dataclass(frozen=True)
class Buckets:
    """The number of documents of each table, and the digests of its buckets."""

    documents: dict[str, int]
    digests: Digests


class PackedDigests(TypedDict):
    """Digests as text for another host, by table, with the number of buckets of each table."""

    buckets: int
    digests: dict[str, str]


def check_number(buckets: int) -> None:
    """Raise MigrationError ``buckets`` for a number of buckets that is not allowed."""
    if not LEAST_BUCKETS <= buckets <= MOST_BUCKETS or buckets & (buckets - 1):
        raise MigrationError(
            f"The number of buckets is {buckets}: use a power of two from {LEAST_BUCKETS} to {MOST_BUCKETS}.", "buckets"
        )


def take(
    tables: Sequence[Table],
    buckets: int,
    workers: int,
    open_session: Callable[[], Session],
    on_progress: Callable[[int, str], None] = lambda _bytes, _table: None,
    reading: Reading = lambda session, _table: nullcontext(session),
) -> Buckets:
    """Digest every table with ``workers`` workers, each with its own session; see ``Reading``."""

    def work(session: Session, piece: Piece) -> list[DigestedBucket]:
        sql = _DIGESTS.format(table=piece.table.sql, where=piece.where, mask=buckets - 1)
        with reading(session, piece.table) as reader:
            rows = reader.rows(sql)
        on_progress(piece.weight, piece.table.key)
        return [DigestedBucket(**row) for row in rows]

    pieces = list(_pieces(tables, workers, open_session))
    documents = {table.name: 0 for table in tables}
    digests = {table.name: [0] * buckets for table in tables}
    for piece, rows in zip(pieces, run_in_sessions(pieces, workers, open_session, work)):
        name = piece.table.name
        for row in rows:
            documents[name] += row.documents
            digests[name][row.bucket] = (digests[name][row.bucket] + int(row.digest)) & _MASK
    return Buckets(documents, digests)


def list_documents(
    tables: Sequence[Table],
    chosen: Mapping[str, Sequence[int]],
    buckets: int,
    most: int,
    workers: int,
    open_session: Callable[[], Session],
    on_progress: Callable[[int, str], None] = lambda _bytes, _table: None,
    reading: Reading = lambda session, _table: nullcontext(session),
) -> list[Revision]:
    """Every document in the ``chosen`` buckets of each table.

    Raises MigrationError ``too_many_differences`` for more than ``most`` documents.
    """

    def work(session: Session, piece: Piece) -> list[Revision]:
        name = piece.table.name
        # A per cent sign in a statement with parameters is written twice.
        sql = _LISTED.format(table=piece.table.sql.replace("%", "%%"), where=piece.where, mask=buckets - 1)
        with reading(session, piece.table) as reader:
            rows = reader.rows(sql, [list(chosen[name]), most + 1])
        on_progress(piece.weight, piece.table.key)
        return [(name, row["id"], row["rev"]) for row in rows]

    wanted = [table for table in tables if chosen.get(table.name)]
    pieces = list(_pieces(wanted, workers, open_session))
    found: list[Revision] = []
    for some in run_in_sessions(pieces, workers, open_session, work):
        found += some
    if len(found) > most:
        number = sum(len(some) for some in chosen.values())
        raise MigrationError(
            f"Source and target differ in {counted(number, 'bucket')} with more than {counted(most, 'document')}, too many for recent "
            "changes. Check whether one "
            "of the two couch2pg is far behind, or follows another CouchDB. If neither is true, use more buckets.",
            "too_many_differences",
            buckets=number,
        )
    return found


def differing(source: PackedDigests, target: PackedDigests) -> dict[str, list[int]]:
    """The differing buckets of each table, of two results of ``pack``.

    Raises MigrationError ``buckets`` when the results can't be compared.
    """
    if source["buckets"] != target["buckets"]:
        raise MigrationError(
            f"The number of buckets is {source['buckets']} on the source and {target['buckets']} on the target. Digest both with the same "
            "number.",
            "buckets",
        )
    one, other = unpack(source), unpack(target)
    nothing = [0] * int(source["buckets"])
    found = {
        name: [
            place
            for place, pair in enumerate(zip(one.get(name, nothing), other.get(name, nothing)))
            if len({*pair}) > 1
        ]
        for name in sorted({*one, *other})
    }
    return {name: numbers for name, numbers in found.items() if numbers}


def pack(digests: Digests, buckets: int) -> PackedDigests:
    """Encode digests as text for another host: 8 bytes for each bucket, compressed."""
    return {"buckets": buckets, "digests": {name: _shrink(_bytes(numbers)) for name, numbers in digests.items()}}


def unpack(packed: PackedDigests) -> Digests:
    """The digests that ``pack`` encoded. Raises MigrationError ``buckets`` for other content."""
    found = {}
    for name, text in packed["digests"].items():
        data = _grow(text)
        if len(data) != 8 * int(packed["buckets"]):
            raise MigrationError(f"The digests of {name} are damaged. Run the digest again.", "buckets")
        found[name] = [int.from_bytes(data[start : start + 8], "big") for start in range(0, len(data), 8)]
    return found


def pack_documents(found: Sequence[Revision]) -> str:
    """Encode a list of documents as text for another host."""
    return _shrink(json.dumps(sorted(found), separators=(",", ":")).encode())


def unpack_documents(text: str) -> list[Revision]:
    """The documents that ``pack_documents`` encoded. Raises MigrationError ``buckets`` for other content."""
    try:
        return [(str(table), str(name), str(rev)) for table, name, rev in json.loads(_grow(text))]
    except (ValueError, TypeError) as error:
        raise MigrationError("The list of documents is damaged. Run the listing again.", "buckets") from error


def _pieces(tables: Sequence[Table], workers: int, open_session: Callable[[], Session]) -> Iterator[Piece]:
    """Pieces of about 256 MiB including TOAST. Before PostgreSQL 14 each piece reads the whole heap, so there are only a few."""
    with open_session() as session:
        block_size = int(session.value("SELECT pg_catalog.current_setting('block_size')"))
        version = session.version
    for table in tables:
        blocks = table.heap_bytes // block_size
        number = min(-(-table.table_bytes // CHUNK_BYTES), blocks)
        number = max(1, number if version >= 140000 else min(number, workers))
        bounds = [blocks * place // number for place in range(number)]
        for first, end in zip(bounds, [*bounds[1:], None]):
            yield Piece(table, first, end, table.table_bytes // number)


def _bytes(numbers: Sequence[int]) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


def _shrink(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def _grow(text: str) -> bytes:
    try:
        return zlib.decompress(base64.b64decode(text))
    except (ValueError, zlib.error) as error:
        raise MigrationError("The digests or documents are damaged. Run the digest again.", "buckets") from error
