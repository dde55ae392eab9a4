# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways over a line of limited speed: each server in a network name space of its own, with one cable between them.

The guide's copy is scp. The method archive fetches its archive as the role transfer does; archive_early also while the dump writes it.
The method stream goes to the source's server directly, and through SSH.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.common.progress_line import amount
from support import binaries, places, seed
from support.cabled_hosts import PORT, Network, inside
from support.clusters import Cluster
from support.migration import column
from support.modules import login

from bench.compare import DATABASE, MAJOR, Bench, Outcome, fill, print_head, print_row, run

WAYS = ("guide", "archive", "archive_early", "stream", "stream_ssh", "pgcopydb", "basebackup")
# What the pg_hba.conf of a server needs that another host may use.
LINES = "host all all samenet scram-sha-256\nhost replication all samenet scram-sha-256\n"


class LineBench(Bench):
    """The ways between two hosts. It runs in the name space of the target's network."""

    def __init__(self, source: Cluster, target: Cluster, folder: Path, jobs: int, network: Network) -> None:
        super().__init__(source, target, folder, jobs)
        self._network = network
        self.at_source = copy.copy(source)
        self.at_source.host = str(source.socket_directory)

    def fetch(self, archive: Path, copied: Path) -> None:
        """scp, as the guide says."""
        known = f"UserKnownHostsFile={self.folder / 'known_hosts'}"
        options = ["-q", "-O", "-P", str(PORT), "-i", str(self._network.folder / "key")]
        options += ["-o", "StrictHostKeyChecking=accept-new", "-o", known]
        run(["scp", *options, f"root@{self._network.source_for_target}:{archive}", str(copied)])

    def transfer(self, outcome: Outcome, work: Path, archive: str) -> str:
        """As the role transfer does, to another folder."""
        there = str(work / "transferred" / "bench")
        of_job = {"migration_id": "bench", "state_dir": str(work / "state")}
        seen = self.module("transfer_info", {**of_job, "archive": archive})["source"]
        access = self._open(work, "transfer", {"archive": archive})
        wanted = {**of_job, **access, "source": seen, "archive": there, "way": "direct", "reason": "", "silence": 60}
        self.step(outcome, "transfer", lambda: self.module("archive_transfer", wanted))
        return there

    def archive_early(self, outcome: Outcome, work: Path) -> None:
        """The method archive, fetched while the dump writes it."""
        access = self._open(work, "early_transfer", {"archive": str(work / "staging" / "bench.partial")})
        wanted = {
            "migration_id": "bench",
            "state_dir": str(work / "state"),
            "archive": str(work / "transferred" / "bench"),
        }
        wanted.update(access, source={}, silence=60, early=True, job_wait=0.0)
        self.module("archive_transfer", wanted)
        self.archive(outcome, work)

    def stream_ssh(self, outcome: Outcome, work: Path) -> None:
        """The method stream, through SSH."""
        tunnel = self._open(work, "restore", {"server": login(self.at_source, DATABASE)})
        self.stream(outcome, work, tunnel=tunnel)

    def _open(self, work: Path, kind: str, what: dict[str, Any]) -> dict[str, Any]:
        """Make a key and authorize it; what the job has to know."""
        of_job = {"migration_id": "bench", "state_dir": str(work / "state")}
        public = self.module("transfer_key", {**of_job, "kind": kind})["public_key"]
        gate = self.module("transfer_key", {**of_job, **what, "side": "source", "public_key": public})
        host_key = " ".join((self._network.source.folder / "host_key.pub").read_text(encoding="utf-8").split()[:2])
        address = self._network.source_for_target
        return {"address": address, "port": PORT, "user": gate["user"], "host_keys": [host_key], "obstacles": []}


def main(arguments: list[str]) -> None:
    """Run the ways in turn, and print the table."""
    parser = argparse.ArgumentParser(prog="tests/bench/run line", description=__doc__)
    parser.add_argument("rate", help="as tc has it, such as 100mbit")
    parser.add_argument("documents", nargs="?", type=int, default=100_000)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    if os.geteuid():
        sys.exit("Run this as root, who may make networks.")
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=places.work_folder("clusters")))
    folder.chmod(0o711)
    try:
        with ExitStack() as stack:
            network = stack.enter_context(Network())
            source, target = _servers(stack, folder, network)
            with inside("target"):
                fill(source, options.documents)
                for role in (seed.OWNER, seed.READER):
                    seed.create_role(target, role)
                (size,) = column(source, "SELECT pg_database_size(current_database())", DATABASE)
            network.throttle(options.rate)
            print(
                f"{options.documents:,} documents, {amount(size, 'bytes')}, PostgreSQL {MAJOR}, line of {options.rate}"
            )
            _measure(LineBench(source, target, folder, options.jobs, network), options.ways, size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(bench: LineBench, ways: list[str], size: int) -> None:
    print_head()
    outcomes: list[Outcome] = []
    with inside("target"):
        for way in ways:
            outcomes.append(bench.measure(way))
            print_row(outcomes, size)


def _servers(stack: ExitStack, folder: Path, network: Network) -> tuple[Cluster, Cluster]:
    """The source's server, which the target reaches by the cable, and the target's, which only its own host reaches."""
    settings = {"max_wal_size": "4GB", "shared_buffers": "1GB"}
    made = []
    for name, more in (("source", {"listen_addresses": "*"}), ("target", {})):
        cluster = Cluster.create(folder / name, binaries.binaries(MAJOR), durable=True, settings={**settings, **more})
        stack.callback(cluster.destroy)
        with (cluster.data_directory / "pg_hba.conf").open("a", encoding="utf-8") as file:
            file.write(LINES)
        with inside(name):
            cluster.start()
        made.append(cluster)
    source, target = made
    source.host = network.source_for_target
    return source, target


if __name__ == "__main__":
    main(sys.argv[1:])
