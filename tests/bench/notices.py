# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each way notices when something is lost on the way: a fault is put into the copy, and the way's own checks run.

A check is what the tool or the guide's commands do by themselves. That an operator could look closer with other tools is not counted.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import psycopg2
from support import binaries, places, seed
from support.clusters import Cluster
from support.migration import column
from support.modules import login

from bench.compare import DATABASE, MAJOR, Bench, Outcome, fill

# The first step after the copy, which may notice a fault in it. pgcopydb has none.
CHECKS = {
    "guide": "count again",
    "postgresql_db": "refresh",
    "archive": "verify",
    "stream": "verify",
    "physical": "verify",
}
WAYS = ("guide", "postgresql_db", "pgcopydb", "archive", "stream", "physical")
# Files of an archive, before the step that reads them.
ARCHIVES = {"guide": "gunzip", "archive": "restore"}


@dataclass(frozen=True)
class Fault:
    """A statement in the copy; without one, the largest file of the archive loses its end."""

    name: str
    statement: str = ""


FAULTS = (
    Fault("a document lost", "DELETE FROM couchdb WHERE ctid = (SELECT min(ctid) FROM couchdb)"),
    Fault(
        "a document altered", "UPDATE couchdb SET doc = doc || jsonb_build_object('altered', true) WHERE ctid = '(0,1)'"
    ),
    Fault("a row of another table lost", "DELETE FROM couchdb_progress WHERE ctid = '(0,1)'"),
    Fault("a row doubled", "INSERT INTO couchdb_users_meta SELECT * FROM couchdb_users_meta LIMIT 1"),
    Fault("a view without its rows", "REFRESH MATERIALIZED VIEW dashboard_visits WITH NO DATA"),
    Fault("an index lost", "DROP INDEX couchdb_doc_type"),
    Fault("a grant lost", f"REVOKE SELECT ON couchdb FROM {seed.READER}"),
    Fault("an archive cut short"),
)


class Noticing(Bench):
    """The ways, with a fault in the copy."""

    fault: Fault
    way: str

    def notices(self, way: str, fault: Fault) -> str:
        """What the way says; empty where it says nothing."""
        self.way, self.fault, self._copy = way, fault, login(self.target, DATABASE)
        try:
            self.measure(way)
        except SystemExit as ended:
            return " ".join(str(ended.code).split())
        return ""

    def step(self, outcome: Outcome, name: str, work: Callable[[], object]) -> None:
        if name == ARCHIVES.get(self.way) and not self.fault.statement:
            self._cut()
        if name == CHECKS.get(self.way) and self.fault.statement:
            self._put_in()
        super().step(outcome, name, work)
        if name == "count again":
            # The operator compares the two numbers.
            counts = {
                column(server, "SELECT count(*) FROM couchdb", DATABASE)[0] for server in (self.source, self.target)
            }
            if len(counts) > 1:
                sys.exit(f"count(*) of couchdb differs: {counts}")

    def _refresh_and_verify(
        self, outcome: Outcome, shared: dict[str, Any], archive: str, copy: dict[str, Any] | None = None
    ) -> None:
        self._copy = copy or login(self.target, f"{DATABASE}_incoming")
        super()._refresh_and_verify(outcome, shared, archive, copy)

    def _put_in(self) -> None:
        place = self._copy
        connection = psycopg2.connect(
            host=place.get("login_unix_socket") or place["login_host"],
            port=place["login_port"],
            user=place["login_user"],
            password=place.get("login_password"),
            dbname=place["database"],
        )
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(self.fault.statement)
        finally:
            connection.close()

    def _cut(self) -> None:
        files = [path for path in (self.folder / "work").rglob("*") if path.is_file() and "state" not in path.parts]
        # The guide leaves the archive on the source, and its copy is as large.
        largest = max(files, key=lambda path: (path.stat().st_size, path.stat().st_mtime_ns))
        with largest.open("r+b") as file:
            file.truncate(largest.stat().st_size * 9 // 10)


def main(arguments: list[str]) -> None:
    """Try every fault with every way, and print the table."""
    parser = argparse.ArgumentParser(prog="tests/bench/run notices", description=__doc__)
    parser.add_argument("documents", nargs="?", type=int, default=2000)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--say", action="store_true", help="also print what each way says")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=places.work_folder("clusters")))
    # The servers run as another user when this is root, and keep their own folders closed.
    folder.chmod(0o711)
    try:
        with ExitStack() as stack:
            source, target = (
                stack.enter_context(Cluster.create(folder / name, binaries.binaries(MAJOR)))
                for name in ("source", "target")
            )
            fill(source, options.documents)
            for role in (seed.OWNER, seed.READER):
                seed.create_role(target, role)
            bench = Noticing(source, target, folder, 2)
            print("| fault | " + " | ".join(options.ways) + " |")
            print("| --- |" + " --- |" * len(options.ways))
            for fault in FAULTS:
                _try(bench, fault, options.ways, options.say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _try(bench: Noticing, fault: Fault, ways: list[str], say: bool) -> None:
    cells, said = [], []
    for way in ways:
        if not fault.statement and way not in ARCHIVES:
            cells.append("not tried" if way == "postgresql_db" else "has none")
            continue
        answer = bench.notices(way, fault) if way in CHECKS else ""
        cells.append("yes" if answer else "no")
        said.append(f"    {way}: {answer}")
    print(f"| {fault.name} | " + " | ".join(cells) + " |", flush=True)
    if say:
        print("\n".join(said))


if __name__ == "__main__":
    main(sys.argv[1:])
