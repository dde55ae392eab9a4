# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What source and target have differently of the documents, looked up in CouchDB: will couch2pg bring it, or is it lost?

Each side may be behind CouchDB, by another seq. So nothing is a loss that CouchDB changed after the target's stored seq, nor
where the target has what CouchDB has.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Mapping, Sequence, Tuple

from ..couchdb.client import CouchDB
from ..couchdb.url import Followed
from ..postgres.connection import Session
from ..postgres.identifiers import qualified
from .document_buckets import Revision

# CouchDB looks up so many ids by themselves; for more it reads every change.
BATCH = 100
PAUSE_SECONDS = 5.0

# The target has what CouchDB has; couch2pg will bring it; it is gone from CouchDB; or none of these.
SOURCE_BEHIND, CHANGED_SINCE, DELETED, LOST, DOUBLED = "source_behind", "changed_since", "deleted", "lost", "doubled"
VERDICTS = (SOURCE_BEHIND, CHANGED_SINCE, DELETED, LOST, DOUBLED)
BAD = (LOST, DOUBLED)

# Table and _id.
Document = Tuple[str, str]


@dataclass(frozen=True)
class Side:
    """Revisions of documents on one side: as many as there are rows of one."""

    revisions: Mapping[Document, Counter[str]]

    @classmethod
    def of(cls, found: Iterable[Revision]) -> Side:
        """The side that holds these."""
        revisions: dict[Document, Counter[str]] = {}
        for table, name, rev in found:
            revisions.setdefault((table, name), Counter())[rev] += 1
        return cls(revisions)

    def of_document(self, document: Document) -> Counter[str]:
        """Its revisions here; none where it isn't."""
        return self.revisions.get(document, Counter())


def differences(source: Side, target: Side) -> list[Document]:
    """The documents that the two sides don't hold alike."""
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
    """A verdict for each of the ``documents``, by CouchDB; ``progress`` has the seqs of the moment that ``target`` shows."""
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
    # What is current is asked for first: what changes between the two questions has then changed since.
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
    # couch2pg deletes every row of a document that has changed before it inserts it again.
    if changed:
        return CHANGED_SINCE
    if not current:
        return DELETED
    if sum(there.values()) > 1:
        return DOUBLED
    return SOURCE_BEHIND if set(there) & current else LOST


def read_again(session: Session, documents: Sequence[Document]) -> tuple[Side, dict[str, str]]:
    """These documents as the target has them now, and the seqs of that moment."""
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
    """A verdict for every difference; what seems bad is looked at once more, after a pause.

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


def summary(verdicts: Mapping[Document, str], listed: int) -> dict[str, Any]:
    """How many there are of each verdict, and the first ``listed`` of the bad ones by name."""
    counts = Counter(verdicts.values())
    bad = [document for document in sorted(verdicts) if verdicts[document] in BAD]
    return {
        "differences": len(verdicts),
        **{verdict: counts[verdict] for verdict in VERDICTS},
        "documents": [{"table": table, "id": name, "verdict": verdicts[(table, name)]} for table, name in bad[:listed]],
    }


def _by_table(documents: Sequence[Document]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for table, name in documents:
        found.setdefault(table, []).append(name)
    return found
