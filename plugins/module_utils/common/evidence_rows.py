# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of the lists in an archive's ``evidence.json`` and ``manifest.json``.

Names of tables, views and indexes are ``schema.name``.
"""

from __future__ import annotations

from typing import TypedDict


class ArchivedFile(TypedDict):
    """A file of an archive: its path relative to the archive, its size in bytes, its SHA-256 as hex."""

    path: str
    bytes: int
    sha256: str


class CountedTable(TypedDict):
    """A table and its number of rows."""

    table: str
    rows: int


class DigestDocument(CountedTable, total=False):
    """Rows and digest of a table. Only the evidence of a copy that has not read the table yet lacks ``digest``.

    search_path: only where the table can't be read under an empty one; by_name: only for a table whose columns were hashed in the order
    of their names; rounded: only where the text of floats has 15 digits; tree: only where ``relations.Table`` has one.
    """

    digest: str
    search_path: str
    by_name: bool
    rounded: bool
    tree: str


class TableDocument(DigestDocument):
    """A table of the source. bytes: its size with TOAST, without indexes."""

    bytes: int


class MatviewDocument(TypedDict):
    """A materialized view. rows: None if it isn't populated, or another session refreshes it; bytes: its size, 0 in the latter case."""

    matview: str
    owner: str
    populated: bool
    rows: int | None
    bytes: int


class IndexDocument(TypedDict):
    """An index of ``table``, with its size in bytes."""

    index: str
    table: str
    bytes: int


class ExtensionTable(TypedDict):
    """A table that belongs to an extension.

    carried: whether pg_dump dumps the rows that ``condition`` selects; rows: the number of these rows, of all rows if it isn't dumped;
    hashes: of each dumped row, sorted, None when there are too many.
    """

    table: str
    schema: str
    name: str
    extension: str
    carried: bool
    condition: str | None
    columns: list[str]
    rows: int
    hashes: list[str] | None


class SequenceValue(TypedDict):
    """The state of a sequence."""

    last_value: int
    is_called: bool
    increment: int


class _Before(TypedDict):
    before: SequenceValue


class SequenceBounds(_Before, total=False):
    """The state of a sequence before the dump and, once it is finished, after it: sequences ignore snapshots."""

    after: SequenceValue


class LargeObjects(TypedDict):
    """The number of the large objects, and one digest of all."""

    count: int
    digest: str


class CouchdbProgress(TypedDict):
    """couch2pg's stored sequence of a CouchDB database."""

    source: str
    seq: str
