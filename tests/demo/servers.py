# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and fill the demo's two servers, or find those of the last run."""

from __future__ import annotations

import time
from dataclasses import dataclass

from support import seed
from support.binaries import Binaries, available, clients
from support.clusters import Cluster
from support.places import SupportError, work_folder

from .clean import destroy_clusters
from .folder import FOLDER, PRIVATE, SIDES

DATABASE = "cht"
OLDEST = 10
# Written last: servers without it are of a run that was interrupted, and made again.
READY = PRIVATE / "ready"


@dataclass(frozen=True)
class Servers:
    """Both servers, running."""

    source: Cluster
    target: Cluster

    def items(self) -> tuple[tuple[str, Cluster], ...]:
        """Both with their names."""
        return (SIDES[0], self.source), (SIDES[1], self.target)


def servers(documents: int) -> Servers:
    """The two servers; the source is filled with so many documents unless it was in the last run."""
    return _found() or _made(documents)


def client_programs(cluster: Cluster) -> Binaries:
    """A server's own client programs, as an operator would have them, or else the newest there are."""
    return cluster.binaries if cluster.binaries.has_clients else clients()


def _found() -> Servers | None:
    if not READY.exists():
        return None
    both = [Cluster.open(work_folder(FOLDER) / side) for side in SIDES]
    if not all(cluster.binaries.bin_dir.is_dir() for cluster in both):
        return None
    for cluster in both:
        cluster.start()
    return _say(Servers(*both), "The servers of the last run")


def _made(documents: int) -> Servers:
    destroy_clusters()
    READY.unlink(missing_ok=True)
    old, new = _versions()
    both = []
    for side, binaries in zip(SIDES, (old, new)):
        both.append(Cluster.create(work_folder(FOLDER) / side, binaries, durable=True))
        both[-1].start()
    made = _say(Servers(*both), "Two new servers")
    started = time.monotonic()
    # What the guide has the operator prepare: couch2pg's role and an empty database, nothing else.
    password = seed.create_role(made.target, seed.OWNER)
    seed.create_database(made.target, DATABASE)
    seed.seed(made.source, DATABASE, documents=documents, password=password)
    print(f"The source is filled: {documents:,} documents in {time.monotonic() - started:.0f} s", flush=True)
    READY.touch()
    return made


def _versions() -> tuple[Binaries, Binaries]:
    """The oldest and the newest PostgreSQL that is installed or came with the demo's Python packages."""
    known = [found for major, found in available().items() if major >= OLDEST]
    if not known or not any(found.has_clients for found in known):
        raise SupportError("No PostgreSQL was found: tests/tools/setup demo should have brought it.")
    return known[0], known[-1]


def _say(both: Servers, what: str) -> Servers:
    places = (f"{side} PostgreSQL {cluster.binaries.major} on port {cluster.port}" for side, cluster in both.items())
    print(f"{what}: {', '.join(places)}", flush=True)
    return both
