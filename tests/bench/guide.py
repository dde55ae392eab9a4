# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual guide's commands against a migration, from the same source to the same target: time, and room for archives.

Both servers are on this machine, so the guide's two copies with scp are one ``cp``, and a migration copies nothing. Ours comes
first, so that what is in memory by then helps the guide. Only the guide's commands are counted, not the time to type them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

from ansible_collections.cht.couch2pg.plugins.module_utils.common.progress_line import amount
from support import binaries, seed
from support.clusters import Cluster
from support.migration import Migration, column, environment, execute

from bench.folders import most_bytes
from bench.servers import SOURCE, TARGET, servers

DOCUMENTS = 400_000
REST = "the rest"
DATABASE, GUIDE = "bench", "bench_guide"


def main(arguments: list[str]) -> None:
    """Run both and print the table."""
    documents = int(arguments[0]) if arguments else DOCUMENTS
    with ExitStack() as stack:
        source, target = stack.enter_context(servers())
        seed.seed(source, DATABASE, documents=documents)
        # One that calls a function for every row would outweigh all else, here and there.
        execute(source, "DROP MATERIALIZED VIEW dashboard_areas CASCADE", DATABASE)
        seed.create_role(target, seed.OWNER)
        seed.create_role(target, seed.READER)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (size,) = column(source, "SELECT pg_database_size(current_database())", DATABASE)
        print(
            f"{documents:,} documents, {amount(size, 'bytes')}, PostgreSQL {SOURCE} to {TARGET}, {os.cpu_count()} processors"
        )
        ours = _migrate(source, target, work / "ours")
        guide = _by_hand(source, target, work / "guide")
    for name, (times, room) in (("cht.couch2pg", ours), ("the guide", guide)):
        print(f"\n{name}: {sum(times.values()):.0f} s, {amount(room, 'bytes')} of archives at the most")
        for step, seconds in times.items():
            print(f"  {step:<12}{seconds:>8.1f} s")
    whole = sum(guide[0].values())
    print(
        f"\ncht.couch2pg takes {(sum(ours[0].values()) - ours[0][REST]) / whole:.2f} of the guide's time, "
        f"{sum(ours[0].values()) / whole:.2f} with what doesn't grow with the data, and {ours[1] / guide[1]:.2f} of its room"
    )


def _migrate(source: Cluster, target: Cluster, folder: Path) -> tuple[dict[str, float], int]:
    """Seconds of each phase (``REST``: Ansible, and what is over in a moment), and the most bytes in the folder for archives."""
    folder.mkdir()
    migration = Migration(source, target, binaries.clients().bin_dir, folder, DATABASE, "bench", warm=False)
    began = time.monotonic()
    with most_bytes(folder / "staging") as most:
        _run(*migration.command(), environment=environment())
    whole = time.monotonic() - began
    results = {name: phase["result"] for name, phase in migration.record["phases"].items()}
    times = {name: float(result["seconds"]) for name, result in results.items() if "seconds" in result}
    return {**times, REST: whole - sum(times.values())}, most()


def _by_hand(source: Cluster, target: Cluster, folder: Path) -> tuple[dict[str, float], int]:
    """The same for the commands of the guide."""
    old, new = folder / "old", folder / "new"
    for place in (old, new):
        place.mkdir(parents=True)
    execute(target, f"CREATE DATABASE {GUIDE} OWNER {seed.OWNER}")
    programs = binaries.clients()
    archive, copy = old / "couch2pg.tar", new / "couch2pg.tar"

    def run(server: Cluster, program: str, *words: str) -> Callable[[], None]:
        place = ["-h", server.host, "-p", str(server.port), "-U", server.superuser]
        return lambda: _run(
            programs.program(program), *place, *words, environment={**os.environ, "PGPASSWORD": server.password}
        )

    def count(server: Cluster, database: str) -> Callable[[], None]:
        return run(server, "psql", "-d", database, "-c", "SELECT count(*) FROM couchdb")

    steps: dict[str, Callable[[], None]] = {
        "count": count(source, DATABASE),
        "pg_dump": run(source, "pg_dump", "-d", DATABASE, "-F", "tar", "-f", str(archive)),
        "gzip": lambda: _run("gzip", str(archive)),
        "copy": lambda: _run("cp", f"{archive}.gz", f"{copy}.gz"),
        "gunzip": lambda: _run("gunzip", f"{copy}.gz"),
        "pg_restore": run(target, "pg_restore", "-d", GUIDE, str(copy)),
        "count again": count(target, GUIDE),
        # What couch2pg does in its first run, which the guide waits for, and a migration has in its phase refresh.
        "couch2pg": run(target, "psql", "-d", GUIDE, "-c", f"SET ROLE {seed.OWNER}", "-c", "SELECT refresh_matviews()"),
    }
    times = {}
    with most_bytes(folder) as most:
        for name, step in steps.items():
            began = time.monotonic()
            step()
            times[name] = time.monotonic() - began
    return times, most()


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stdout}")


if __name__ == "__main__":
    main(sys.argv[1:])
