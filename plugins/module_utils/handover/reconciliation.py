# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look up in CouchDB the documents in which source and target differ, to find those that are lost.

Source and target may be behind CouchDB by different numbers of changes. A document is not lost when CouchDB changed it after the
target's checkpoint, or when the target has CouchDB's revision.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Callable, Iterable, Mapping, Sequence, Tuple, TypedDict

from ..couchdb.client import CouchDB
from ..couchdb.url import Followed
from ..postgres.identifiers import literal, qualified
from ..postgres.session import Session
from .document_buckets import Revision

# CouchDB looks up this many ids directly. For more, it reads every change.
BATCH = 100
PAUSE_SECONDS = 5.0

# The verdicts, in this order: the target has CouchDB's revision; couch2pg will fetch it; CouchDB deleted it; lost; several rows on the
# target.
SOURCE_BEHIND, CHANGED_SINCE, DELETED, LOST, DOUBLED = "source_behind", "changed_since", "deleted", "lost", "doubled"
VERDICTS = (SOURCE_BEHIND, CHANGED_SINCE, DELETED, LOST, DOUBLED)
BAD = (LOST, DOUBLED)

# Table and _id.
Document = Tuple[str, str]


class JudgedDocument(TypedDict):
    """A lost or duplicated document."""

    table: str
    id: str
    verdict: str


class Reconciliation(TypedDict):
    """The number of differing documents, of each verdict, and the first bad documents by name."""

    differences: int
    source_behind: int
    changed_since: int
    deleted: int
    lost: int
    doubled: int
    documents: list[JudgedDocument]


@dataclass(frozen=True)
class Side:
    """The revisions of documents on one side, with the number of rows of each revision."""

    revisions: Mapping[Document, Counter[str]]

    @classmethod
    def of(cls, found: Iterable[Revision]) -> Side:
        """The side with these rows."""
        revisions: dict[Document, Counter[str]] = {}
        for table, name, rev in found:
            revisions.setdefault((table, name), Counter())[rev] += 1
        return cls(revisions)

    def of_document(self, document: Document) -> Counter[str]:
        """The revisions of the document on this side; none without a row."""
        return self.revisions.get(document, Counter())


def differences(source: Side, target: Side) -> list[Document]:
    """The documents in which the two sides differ."""
    return sorted(
        document
        for document in {*source.revisions, *target.revisions}
        if source.of_document(document) != target.of_document(document)
    )


def judge(
    client: CouchDB,
    followed: Sequence[Followed],
    documents: Sequence[Document],
    target: Side,
    progress: Mapping[str, str],
) -> dict[Document, str]:
    """A verdict for each document. ``progress`` has the checkpoints of the snapshot that ``target`` was read from."""
    verdicts: dict[Document, str] = {}
    for table, names in _by_table(documents).items():
        databases = [entry for entry in followed if entry.table == table]
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]
            verdicts.update(_judge(client, databases, table, some, target, progress))
    return verdicts


def _judge(
    client: CouchDB,
    databases: Sequence[Followed],
    table: str,
    names: list[str],
    target: Side,
    progress: Mapping[str, str],
) -> dict[Document, str]:
    # Revisions first: a document that changes between the two requests then counts as changed.
    current: dict[str, set[str]] = {name: set() for name in names}
    changed: set[str] = set()
    for entry in databases:
        for name, rev in client.revisions(entry.database, names).items():
            current[name] |= {rev} if rev else set()
        changed |= client.changed_since(entry.database, progress.get(entry.key, "0"), names)
    return {
        (table, name): _verdict(target.of_document((table, name)), current[name], name in changed) for name in names
    }


def _verdict(there: Counter[str], current: set[str], changed: bool) -> str:
    # couch2pg deletes every row of a changed document before it inserts the document again.
    if changed:
        return CHANGED_SINCE
    if not current:
        return DELETED
    if sum(there.values()) > 1:
        return DOUBLED
    return SOURCE_BEHIND if set(there) & current else LOST


def read_again(session: Session, documents: Sequence[Document]) -> tuple[Side, dict[str, str]]:
    """These documents on the target now, and the checkpoints of the same snapshot."""
    session.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    rows = session.rows("SELECT source::text AS key, seq::text AS seq FROM public.couchdb_progress")
    found: list[Revision] = []
    for table, names in _by_table(documents).items():
        found += [
            (table, row["id"], row["rev"])
            for row in session.rows(
                f"SELECT doc ->> '_id' AS id, coalesce(doc ->> '_rev', '') AS rev FROM ONLY {qualified('public', table)} "
                "WHERE doc ->> '_id' = ANY (%s)",
                [names],
            )
        ]
    session.execute("ROLLBACK")
    return Side.of(found), {row["key"]: row["seq"] for row in rows if row["seq"] is not None}


def reconcile(
    client: CouchDB,
    followed: Sequence[Followed],
    source: Side,
    target: Side,
    progress: Mapping[str, str],
    open_session: Callable[[], Session],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[Document, str]:
    """A verdict for every difference. A bad verdict is checked once more after a pause.

    couch2pg deletes documents before it inserts them, without a transaction.
    """
    verdicts = judge(client, followed, differences(source, target), target, progress)
    suspects = [document for document, verdict in verdicts.items() if verdict in BAD]
    if suspects:
        sleep(PAUSE_SECONDS)
        with open_session() as session:
            again, seqs = read_again(session, suspects)
        verdicts.update(judge(client, followed, suspects, again, seqs))
    return verdicts


def summary(verdicts: Mapping[Document, str], listed: int) -> Reconciliation:
    """The number of documents of each verdict, and the first ``listed`` bad ones by name."""
    counts = Counter(verdicts.values())
    bad = [document for document in sorted(verdicts) if verdicts[document] in BAD]
    return {
        "differences": len(verdicts),
        "source_behind": counts[SOURCE_BEHIND],
        "changed_since": counts[CHANGED_SINCE],
        "deleted": counts[DELETED],
        "lost": counts[LOST],
        "doubled": counts[DOUBLED],
        "documents": [{"table": table, "id": name, "verdict": verdicts[(table, name)]} for table, name in bad[:listed]],
    }


def begin_again(verdicts: Mapping[Document, str], followed: Sequence[Followed]) -> str:
    """The statement after which couch2pg downloads every database again that may contain one of the bad documents."""
    tables = {table for (table, _name), verdict in verdicts.items() if verdict in BAD}
    keys = ", ".join(literal(entry.key) for entry in followed if entry.table in tables)
    return f"UPDATE public.couchdb_progress SET seq = '0' WHERE source IN ({keys});"


def _by_table(documents: Sequence[Document]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for table, name in documents:
        found.setdefault(table, []).append(name)
    return found
