# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the migration while a writer keeps changing the source as couch2pg does."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator

from support import seed
from support.binaries import clients
from support.clusters import Cluster
from support.places import CACHE, ROOT, SupportError

from . import field
from .folder import PRIVATE, alone
from .inventory import INVENTORY, MIGRATION, PASSFILE
from .prepare import prepare
from .servers import DATABASE, Servers

REFRESH_SECONDS = 15
# A writer whose demo was killed ends by itself.
WRITER_SECONDS = 600
WRITER_END_SECONDS = 60


def main(arguments: list[str]) -> int:
    """The demo, with arguments for ansible-playbook; returns its exit code."""
    with alone():
        both = prepare(INVENTORY)
        started = time.monotonic()
        with _writer(both.source):
            status = _migrate(arguments)
        ended = "stopped" if status else "ended"
        print(f"The run of the migration {ended} after {time.monotonic() - started:.0f} s.", flush=True)
        written = _written()
        _explain(both)
        _tell_how_to_go_on()
    if not written:
        sys.stderr.write(f"demo: the writer failed: see {PRIVATE / 'writer.log'}\n")
    return status or (0 if written else 1)


@contextlib.contextmanager
def _writer(source: Cluster) -> Iterator[None]:
    """A writer in the background; at the end it has finished its last batch, whatever happened.

    It writes into CouchDB, from which couch2pg copies; without couch2pg, into the source, as couch2pg would.
    """
    command = [sys.executable, "-m", "demo.field", str(WRITER_SECONDS)]
    if not field.has_node():
        command = [sys.executable, "-m", "support.writer", "--dsn", source.dsn(DATABASE, seed.OWNER)]
        command += ["--seconds", str(WRITER_SECONDS), "--refresh-every", str(REFRESH_SECONDS)]
    with (PRIVATE / "writer.json").open("w", encoding="utf-8") as result, (PRIVATE / "writer.log").open("w") as log:
        # In a session of its own: Ctrl-C is for Ansible, and this is stopped afterwards.
        process = subprocess.Popen(command, stdout=result, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(WRITER_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _migrate(arguments: list[str]) -> int:
    """Run the playbook. A signal is Ansible's to answer; then the demo goes on to its end."""
    command = [*_command(), *arguments]
    print(f"\n$ {shlex.join(command)}\n", flush=True)
    # Ansible refuses to run where the locale isn't UTF-8.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["LC_ALL"] = "C.UTF-8"
    process = subprocess.Popen([str(Path(sys.executable).parent / command[0]), *command[1:]], cwd=ROOT, env=environment)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    code = process.wait()
    return code if code >= 0 else 128 - code


def _command() -> list[str]:
    return ["ansible-playbook", "playbooks/migrate.yml", "-i", str(INVENTORY.relative_to(ROOT))]


def _written() -> bool:
    """Print what the writer did, if it ended well."""
    try:
        written = json.loads((PRIVATE / "writer.json").read_text(encoding="utf-8"))
    except ValueError:
        return False
    where = (
        "CouchDB, from which couch2pg copies them to the source" if field.has_node() else "the source, as couch2pg does"
    )
    print(
        f"Meanwhile, a writer changed documents in {where}: {written['changed']:,} changed and {written['added']:,} added in "
        f"{written['seconds']:.0f} s."
    )
    return (PRIVATE / "writer.log").stat().st_size == 0


def _explain(both: Servers) -> None:
    """Print how to look at both databases."""
    psql = clients().program("psql")
    print("\nLook at both databases:")
    for side, cluster in both.items():
        arguments = ["-h", cluster.host, "-p", str(cluster.port), "-U", cluster.superuser, DATABASE]
        print(f"  PGPASSFILE={shlex.quote(str(PASSFILE))} {shlex.join([psql, *arguments])}   # {side}")


def _tell_how_to_go_on() -> None:
    """Print how to run it again, and how to remove it."""
    state = PRIVATE / "state" / "target"
    names = sorted(path.parent.name for path in state.glob("*/record.json")) or [MIGRATION]
    under_way = [name for name in names if not (state / name / "rolled_back.json").exists()]
    if not under_way:
        number = next(number for number in itertools.count(2) if not (state / f"{MIGRATION}_{number}").exists())
        print(
            f"Rolled back: {', '.join(names)}. The target has the database that it had before. To migrate again under another name:"
        )
        print(f"  {_again(f'{MIGRATION}_{number}')}")
    else:
        print(f"Run it again ({_again(under_way[-1])}), or only the playbook; what is done is not repeated:")
        print(f"  {_playbook(under_way[-1])}")
    print("Stop the servers and remove everything:\n  make demo-clean")


def _again(name: str) -> str:
    return "make demo" if name == MIGRATION else shlex.join(["tests/demo/run", *_named(name)])


def _named(name: str) -> list[str]:
    """The arguments for a migration of that name."""
    return [] if name == MIGRATION else ["-e", f"couch2pg_migration_id={name}"]


def _playbook(name: str) -> str:
    """The command line of the playbook alone."""
    programs = shlex.quote(str(Path(sys.executable).parent))
    collections = shlex.quote(str(CACHE / "link"))
    return f"PATH={programs}:$PATH ANSIBLE_COLLECTIONS_PATH={collections} {shlex.join([*_command(), *_named(name)])}"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SupportError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
