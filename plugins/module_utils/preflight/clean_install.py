# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alternative to a migration: an empty database, into which couch2pg fetches every document from CouchDB again.

To estimate how long that takes, a sample of the documents is fetched as couch2pg does it: first a list of changes, then the documents in
batches. The sample is not kept.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Sequence

from ..common.counted import counted
from ..common.progress_line import duration
from ..couchdb.client import CouchDB

# The name of the finding.
NAME = "clean install"
# Long enough for several batches over a slow line, short enough for a check.
SAMPLE_SECONDS = 3.0
SAMPLE_BATCHES = 20


@dataclass(frozen=True)
class CleanInstall:
    """documents: of all databases that couch2pg follows; sampled: those of them that were fetched in ``seconds``."""

    documents: int
    sampled: int
    seconds: float

    @property
    def rate(self) -> float:
        """Documents per second."""
        return self.sampled / max(self.seconds, 0.001)

    @property
    def estimate(self) -> float:
        """Seconds to fetch all documents. couch2pg also writes them, which takes longer."""
        return self.documents / max(self.rate, 0.001)

    def describe(self, migration: Sequence[float]) -> str:
        """Compare it with the migration, as a finding of preflight.

        migration: the shortest and the longest estimate of the migration, in seconds; empty when unknown.
        """
        if not self.sampled:
            return "CouchDB has no documents, so there is nothing to compare the migration with."
        said = (
            f"With an empty database instead of this migration, couch2pg would fetch {counted(self.documents, 'document')} again, in at "
            "least "
            f"{duration(self.estimate)} ({self.rate:.0f} per second were fetched from here). Both ways then build the materialized views."
        )
        if not migration:
            return said
        shortest, longest = migration
        return (
            f"{said} The migration takes between {duration(shortest)} and {duration(longest)}. "
            f"{verdict(self.estimate, shortest, longest)}"
        )


def verdict(clean_install: float, shortest: float, longest: float) -> str:
    """Say which way is better, and why.

    clean_install: seconds that it takes at least. shortest, longest: seconds that the migration takes; equal when it was measured.
    """
    if clean_install > longest:
        return "The migration is better: it is faster, and it brings everything that is in the database."
    if clean_install < shortest:
        return (
            "A clean install may be better, because it may be faster. But it brings only what couch2pg writes: no tables, views, roles and "
            "grants of dashboards, and no documents that CouchDB does not have any more."
        )
    return "The migration is better: a clean install is not clearly faster, and it brings only what couch2pg writes."


def measure(
    server: CouchDB, databases: Sequence[str], batch: int, clock: Callable[[], float] = time.monotonic
) -> CleanInstall:
    """Fetch documents of the largest database for SAMPLE_SECONDS. batch: how many documents couch2pg asks for at once.

    Raises the MigrationErrors of ``CouchDB``.
    """
    documents = {database: server.documents(database) for database in databases}
    largest = max(documents, key=lambda database: documents[database])
    began = clock()
    ids = server.changed_ids(largest, batch * SAMPLE_BATCHES)
    sampled = 0
    while sampled < len(ids) and clock() - began < SAMPLE_SECONDS:
        wanted = ids[sampled : sampled + batch]
        server.fetch(largest, wanted)
        sampled += len(wanted)
    return CleanInstall(sum(documents.values()), sampled, clock() - began)
