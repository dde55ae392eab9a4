# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways to move a couch2pg database, side by side in one run: the manual guide, this collection's methods, and other tools.

Both servers are on this machine, with its processors and its disk. The methods of this collection include evidence and verification
of every row on both sides, and the refresh of all materialized views; the other tools include neither, but the guide's refresh is
counted. Time of Ansible itself is left out: the modules run as on a managed host.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable

from ansible_collections.cht.couch2pg.plugins.module_utils.common.progress_line import amount
from ansible_collections.cht.couch2pg.plugins.module_utils.physical import removal
from ansible_collections.cht.couch2pg.plugins.module_utils.physical.folders import Folders
from support import binaries, places, seed
from support.clusters import Cluster
from support.migration import column, environment, execute
from support.modules import login, run_module

from bench import chart
from bench.folders import most_bytes
from bench.usage import measured, pin

DATABASE = "bench"
MAJOR = 15
ODD = 'DROP TABLE dashboards."Odd ""Name""" CASCADE'
PLAYBOOK = Path(__file__).with_name("postgresql_db.yml")
COPIES = 10
# In this order, a document and its copies are far apart: side by side they would compress like nothing real.
COPY = """
INSERT INTO couchdb
SELECT doc || pg_catalog.jsonb_build_object('_id', pg_catalog.md5((doc->>'_id') || number)::uuid::text)
FROM couchdb, pg_catalog.generate_series(1, {copies}) AS number ORDER BY number
"""
# In several transactions, because each table that is created is locked to the end of its own.
MANY = """
DO $do$ BEGIN
    FOR number IN 1..{tables} LOOP
        EXECUTE format('CREATE TABLE many.%I (id int PRIMARY KEY, word text)', 'table_' || number);
        EXECUTE format('INSERT INTO many.%I SELECT n, md5(n::text) FROM generate_series(1, 10) AS n', 'table_' || number);
        IF number % 100 = 0 THEN COMMIT; END IF;
    END LOOP;
END $do$
"""
LOCKS = 64


@dataclass
class Outcome:
    """What one way took: seconds of each step, and the most bytes of its files beside the databases.

    processor: seconds of each step, by ``source``, ``target`` (the servers) and ``others``; peak_bytes: memory of its largest
    process that is not a server's.
    """

    way: str
    steps: dict[str, float] = field(default_factory=dict)
    processor: dict[str, dict[str, float]] = field(default_factory=dict)
    sections: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    staging_bytes: int = 0
    verified: bool = False

    @property
    def seconds(self) -> float:
        """All steps together."""
        return sum(self.steps.values())


class Bench:
    """Source and target, and the ways between them."""

    def __init__(self, source: Cluster, target: Cluster, folder: Path, jobs: int) -> None:
        self.source, self.target, self.folder, self.jobs = source, target, folder, jobs
        # The source's server as its own host reaches it.
        self.at_source = source
        same = source.binaries.major == target.binaries.major
        self.programs = target.binaries if same else binaries.clients()

    def measure(self, way: str) -> Outcome:
        """Move the database this way into an empty target; the target is emptied again."""
        work = self.folder / "work"
        work.mkdir(mode=0o711)
        outcome = Outcome(way)
        try:
            with most_bytes(work) as most:
                getattr(self, way)(outcome, work)
            outcome.staging_bytes = most()
        finally:
            shutil.rmtree(work)
            for name in column(self.target, "SELECT datname FROM pg_database WHERE datname LIKE 'bench%'"):
                seed.drop_database(self.target, name)
        return outcome

    def guide(self, outcome: Outcome, work: Path) -> None:
        """The manual guide's commands; its copy over the network is a copy on this disk."""
        execute(self.target, f"CREATE DATABASE {DATABASE} OWNER {seed.OWNER}")
        archive, copy = work / "couch2pg.tar", work / "copied.tar"
        count = "SELECT count(*) FROM couchdb"
        self.step(outcome, "count", lambda: self._psql(self.at_source, count))
        self.step(outcome, "pg_dump", lambda: self._program(self.at_source, "pg_dump", "-F", "tar", "-f", str(archive)))
        self.step(outcome, "gzip", lambda: run(["gzip", str(archive)]))
        self.step(outcome, "copy", lambda: self.fetch(Path(f"{archive}.gz"), Path(f"{copy}.gz")))
        self.step(outcome, "gunzip", lambda: run(["gunzip", f"{copy}.gz"]))
        self.step(outcome, "pg_restore", lambda: self._program(self.target, "pg_restore", str(copy)))
        self.step(outcome, "count again", lambda: self._psql(self.target, count))
        self._refresh(outcome)

    def fetch(self, archive: Path, copy: Path) -> None:
        """The guide's scp."""
        shutil.copyfile(archive, copy)

    def transfer(self, _outcome: Outcome, _work: Path, archive: str) -> str:
        """Bring the archive to the target; returns its folder there, which on one machine is the same."""
        return archive

    def archive(self, outcome: Outcome, work: Path) -> None:
        """This collection, method archive, up to verify."""
        shared = self.shared(work)
        dump = {**shared, **login(self.at_source, DATABASE), "staging_dir": str(work / "staging")}
        self.step(outcome, "dump", lambda: self.module("pg_dump", dump))
        archive = self.transfer(outcome, work, str(work / "staging" / "bench"))
        restore = {**shared, **login(self.target, DATABASE), "archive": archive, "incoming": f"{DATABASE}_incoming"}
        self.step(outcome, "restore", lambda: self.module("pg_restore", restore))
        self._refresh_and_verify(outcome, shared, archive)

    def stream(self, outcome: Outcome, work: Path, **way: Any) -> None:
        """This collection, method stream, up to verify. way: the option ``tunnel``, where the way is through SSH."""
        shared = self.shared(work)
        archive = str(work / "staging" / "bench")
        options = {
            **shared,
            **login(self.target, DATABASE),
            "source": login(self.source, DATABASE),
            "archive": archive,
            "incoming": f"{DATABASE}_incoming",
            **way,
        }
        self.step(outcome, "stream", lambda: self.module("pg_stream", options))
        self._refresh_and_verify(outcome, shared, archive)

    def physical(self, outcome: Outcome, work: Path) -> None:
        """This collection, method physical, up to verify: a copy of the whole server, which moves at the speed of its files."""
        shared = self.shared(work)
        archive = str(work / "staging" / "bench")
        options = {**shared, **login(self.target, DATABASE), "source": login(self.source, DATABASE), "archive": archive}
        options["server_bin_dir"] = str(self.source.binaries.bin_dir)
        copy: dict[str, Any] = {}
        try:
            self.step(outcome, "physical", lambda: copy.update(self.module("pg_physical", options)) or copy)
            self._refresh_and_verify(outcome, shared, archive, {"database": DATABASE, **copy["login"]})
        finally:
            removal.remove(Folders.beside(self.target.data_directory, "bench"))

    def pgcopydb(self, outcome: Outcome, work: Path) -> None:
        """pgcopydb clone, with its own defaults but for the number of jobs."""
        self._pgcopydb(outcome, work)

    def pgcopydb_split(self, outcome: Outcome, work: Path) -> None:
        """The same with large tables split, as far as it can: by their pages on the heap, or by an integer key."""
        self._pgcopydb(outcome, work, "--split-tables-larger-than", "100MB")

    def postgresql_db(self, outcome: Outcome, work: Path) -> None:
        """A playbook around community.postgresql.postgresql_db, and the refresh that it leaves to the operator."""
        execute(self.target, f"CREATE DATABASE {DATABASE} OWNER {seed.OWNER}")
        variables: dict[str, Any] = {"database": DATABASE, "folder": str(work), "jobs": self.jobs}
        for name, server in (("source", self.source), ("target", self.target)):
            variables.update({f"{name}_port": server.port, f"{name}_password": server.password})
        variables["ansible_python_interpreter"] = sys.executable
        inventory = work / "inventory.json"
        inventory.touch(mode=0o600)
        inventory.write_text(json.dumps({"all": {"hosts": {"localhost": variables}}}), encoding="utf-8")
        command = ["ansible-playbook", "-c", "local", "-i", str(inventory), str(PLAYBOOK)]
        path = f"{self.programs.bin_dir}:{os.environ['PATH']}"
        programs = {**environment(), **self.programs.environment(), "PATH": path, "LC_ALL": "C.UTF-8"}
        self.step(outcome, "playbook", lambda: run(command, programs))
        self._refresh(outcome)

    def _refresh(self, outcome: Outcome) -> None:
        refresh = f"SET ROLE {seed.OWNER}; SELECT refresh_matviews()"
        self.step(outcome, "refresh", lambda: self._psql(self.target, refresh))

    def basebackup(self, outcome: Outcome, work: Path) -> None:
        """A physical copy of the whole server: the limit for any method. It can't change version or leave anything out."""
        words = ["pg_basebackup", "-h", self.source.host, "-p", str(self.source.port), "-U", self.source.superuser]
        command = [*words, "-D", str(work / "data"), "--checkpoint=fast", "--wal-method=stream"]
        self.step(outcome, "pg_basebackup", lambda: self._run_as(self.source, command))

    def _pgcopydb(self, outcome: Outcome, work: Path, *words: str) -> None:
        execute(self.target, f"CREATE DATABASE {DATABASE} OWNER {seed.OWNER}")
        command = ["pgcopydb", "clone", "--dir", str(work / "pgcopydb"), "--not-consistent", "--no-comments"]
        command += ["--table-jobs", str(self.jobs), "--index-jobs", str(self.jobs), *words]
        passfile = work / "pgpass"
        passfile.touch(mode=0o600)
        lines = [f"*:{server.port}:*:*:{server.password}" for server in (self.source, self.target)]
        passfile.write_text("\n".join(lines) + "\n", encoding="utf-8")
        variables = {"PGPASSFILE": str(passfile)}
        for name, server in (("SOURCE", self.source), ("TARGET", self.target)):
            address = f"{server.superuser}@{server.host}:{server.port}"
            variables[f"PGCOPYDB_{name}_PGURI"] = f"postgres://{address}/{DATABASE}"
        self.step(outcome, "clone", lambda: run(command, variables))

    def _refresh_and_verify(
        self, outcome: Outcome, shared: dict[str, Any], archive: str, copy: dict[str, Any] | None = None
    ) -> None:
        incoming = copy or login(self.target, f"{DATABASE}_incoming")
        refresh = {name: value for name, value in shared.items() if name != "bin_dir"}
        self.step(outcome, "refresh", lambda: self.module("matview_refresh", {**refresh, **incoming}))
        self.step(outcome, "verify", lambda: self.module("verify", {**shared, **incoming, "archive": archive}))
        outcome.verified = True

    def shared(self, work: Path) -> dict[str, Any]:
        return {
            "migration_id": "bench",
            "state_dir": str(work / "state"),
            "bin_dir": str(self.programs.bin_dir),
            "jobs": self.jobs,
        }

    def step(self, outcome: Outcome, name: str, work: Callable[[], object]) -> None:
        began = time.monotonic()
        with measured(self.source, self.target) as usage:
            result = work()
        outcome.steps[name] = round(time.monotonic() - began, 1)
        outcome.processor[name] = {side: round(seconds, 1) for side, seconds in usage.seconds.items()}
        outcome.peak_bytes = max(outcome.peak_bytes, usage.peak_bytes)
        if isinstance(result, dict):
            outcome.sections.update(result.get("section_seconds", {}))

    def module(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        result = run_module(name, options)
        if result.get("failed"):
            sys.exit(f"{name}: {result['msg']}")
        return result

    def _psql(self, server: Cluster, statement: str) -> None:
        self._program(server, "psql", "-v", "ON_ERROR_STOP=1", "-c", statement)

    def _program(self, server: Cluster, program: str, *words: str) -> None:
        place = ["-h", server.host, "-p", str(server.port), "-U", server.superuser, "-d", DATABASE]
        self._run_as(server, [program, *place, *words])

    def _run_as(self, server: Cluster, command: list[str]) -> None:
        program = self.programs.program(command[0])
        run([program, *command[1:]], {**self.programs.environment(), "PGPASSWORD": server.password})


WAYS = ("guide", "postgresql_db", "archive", "stream", "physical", "pgcopydb", "pgcopydb_split", "basebackup")


def main(arguments: list[str]) -> None:
    """Run all ways in turn, and print the table."""
    parser = argparse.ArgumentParser(prog="tests/bench/run compare", description=__doc__)
    sizes = "several numbers measure how the times grow"
    parser.add_argument("documents", nargs="*", type=int, default=[400_000], help=sizes)
    parser.add_argument("--repeat", type=int, default=1, help="how often each way is measured; the fastest counts")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--majors",
        nargs=2,
        type=int,
        default=[MAJOR, MAJOR],
        help="of source and target; the other tools need 15 and 15",
    )
    parser.add_argument("--pin", action="store_true", help="a processor for each server, as on two hosts")
    parser.add_argument(
        "--pglz", action="store_true", help="the target's server stores large values as PostgreSQL does by default"
    )
    parser.add_argument("--tables", type=int, default=0, help="so many small tables beside those of couch2pg")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--svg", type=Path, help="a file for a chart of the last size")
    options = parser.parse_args(arguments)
    runs = [_compare(documents, options) for documents in options.documents]
    if options.svg:
        last = runs[-1]
        size = amount(last["bytes"], "bytes")
        title = f"Time of {last['documents']:,} documents ({size}), to {last['ways'][0]['way']}"
        options.svg.write_text(chart.draw(title, last["ways"]), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")


def _compare(documents: int, options: argparse.Namespace) -> dict[str, Any]:
    """All ways in turn with a database of this size: the figures."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=places.work_folder("clusters")))
    # The servers run as another user when this is root, and keep their own folders closed.
    folder.chmod(0o711)
    try:
        with ExitStack() as stack:
            # pg_dump locks every table, and its defaults allow about 6,000 locks.
            locks = str(max(LOCKS, options.tables // 10))
            settings = {"max_wal_size": "4GB", "shared_buffers": "1GB", "max_locks_per_transaction": locks}
            choice = {"default_toast_compression": "pglz"} if options.pglz else {}
            source, target = (
                stack.enter_context(
                    Cluster.create(folder / name, binaries.binaries(major), durable=True, settings=of_server)
                )
                for name, major, of_server in zip(
                    ("source", "target"), options.majors, (settings, {**settings, **choice}), strict=True
                )
            )
            fill(source, documents, options.tables)
            for role in (seed.OWNER, seed.READER):
                seed.create_role(target, role)
            if options.pin:
                pin(source, 0)
                pin(target, 1)
            (size,) = column(source, "SELECT pg_database_size(current_database())", DATABASE)
            pinned = ", each server on one of them" if options.pin else ""
            print(
                f"{documents:,} documents, {options.tables:,} tables more, {amount(size, 'bytes')}, "
                f"PostgreSQL {' to '.join(map(str, options.majors))}, {os.cpu_count()} processors{pinned}"
            )
            bench = Bench(source, target, folder, options.jobs)
            outcomes: list[Outcome] = []
            print_head()
            for way in options.ways:
                tries = (bench.measure(way) for _number in range(options.repeat))
                outcomes.append(min(tries, key=lambda outcome: outcome.seconds))
                print_row(outcomes, size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures = [{**asdict(outcome), "seconds": outcome.seconds} for outcome in outcomes]
    return {"documents": documents, "bytes": size, "jobs": options.jobs, "pinned": options.pin, "ways": figures}


def fill(source: Cluster, documents: int, tables: int = 0) -> None:
    """A database of about so many documents: fewer with invented contents, and copies of them with other identifiers.

    tables: so many small tables beside them.
    """
    copies = max(1, min(COPIES, documents // seed.MINIMUM))
    seed.seed(source, DATABASE, documents=documents // copies)
    # A view that calls a function for each row would outweigh all else in every way.
    execute(source, "DROP MATERIALIZED VIEW dashboard_areas CASCADE", DATABASE)
    # pgcopydb 0.10 fails because of a double quote in a name.
    execute(source, ODD, DATABASE)
    execute(source, COPY.format(copies=copies - 1), DATABASE)
    execute(source, f"SET ROLE {seed.OWNER}; SELECT refresh_matviews()", DATABASE)
    if tables:
        execute(source, "CREATE SCHEMA many", DATABASE)
        execute(source, MANY.format(tables=tables), DATABASE)
    execute(source, "VACUUM ANALYZE", DATABASE)


def print_head() -> None:
    print(
        "ratio: to the first way; staging: the most bytes of files at a time, to the size of the database; memory: the largest process"
    )
    print(
        "that is not a server's; processor: seconds of the source's server, the target's server and all other processes"
    )
    print(f"\n{'way':<16}{'seconds':>9}{'ratio':>8}{'staging':>9}{'memory':>9}  {'processor':<15}verified  steps")


def print_row(outcomes: list[Outcome], size: int) -> None:
    base, outcome = outcomes[0], outcomes[-1]
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in outcome.steps.items())
    if outcome.sections:
        steps += f" (of these {', '.join(f'{name} {seconds:.1f}' for name, seconds in outcome.sections.items())})"
    processor = "/".join(
        f"{sum(step[side] for step in outcome.processor.values()):.0f}" for side in ("source", "target", "others")
    )
    print(
        f"{outcome.way:<16}{outcome.seconds:>9.1f}{outcome.seconds / base.seconds:>8.2f}"
        f"{outcome.staging_bytes / size:>9.2f}{outcome.peak_bytes >> 20:>6} MB  {processor:<15}"
        f"{'yes' if outcome.verified else 'no':<8}  {steps}",
        flush=True,
    )


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        # pgcopydb that fails ends its whole process group.
        start_new_session=True,
    )
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if " ERROR " in line or "fatal:" in line]
        sys.exit("\n".join([f"{command[0]} ended with {done.returncode}:", *(errors or [done.stdout[-2000:]])]))


if __name__ == "__main__":
    main(sys.argv[1:])
