# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time of a small migration outside its jobs (Ansible, checks, polling), and that of another commit beside it.

Both run on the same two servers, one after the other in turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from support import binaries, seed
from support.clusters import Cluster
from support.migration import ROOT, Migration, environment, execute

from bench.servers import SOURCE, TARGET, servers

DATABASE = "bench"


def main(arguments: list[str]) -> None:
    """Run the migrations in turns and print the medians."""
    parser = argparse.ArgumentParser(prog="tests/bench/run overhead")
    parser.add_argument("--against", metavar="REF", help="a git commit to compare with")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trees = {"this tree": ROOT}
        if options.against:
            trees[options.against] = _checkout(options.against, work / "checkout")
        source, target = stack.enter_context(servers())
        seed.seed(source, DATABASE, documents=seed.MINIMUM, huge=False)
        outside: dict[str, list[float]] = {name: [] for name in trees}
        for number in range(options.runs):
            for name, tree in trees.items():
                whole, jobs = _migrate(source, target, tree, work / f"run-{number}-{len(outside[name])}-{tree.name}")
                outside[name].append(whole - jobs)
                print(f"{name}: {whole:.1f} s, {jobs:.1f} s of it in jobs, {whole - jobs:.1f} s outside", flush=True)
    medians = {name: statistics.median(seconds) for name, seconds in outside.items()}
    print(f"\nmedian outside jobs, PostgreSQL {SOURCE} to {TARGET}, {options.runs} runs:")
    for name, seconds in medians.items():
        print(f"  {name:<20}{seconds:>6.1f} s")
    if options.against:
        print(f"  ratio{'':<15}{medians['this tree'] / medians[options.against]:>6.2f}")


def _checkout(ref: str, folder: Path) -> Path:
    """The tree of ``ref`` as an installed collection."""
    place = folder / "ansible_collections" / "cht" / "couch2pg"
    place.mkdir(parents=True)
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", ref], check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive.stdout, check=True)
    return place


def _migrate(source: Cluster, target: Cluster, tree: Path, folder: Path) -> tuple[float, float]:
    """Seconds of a migration with the playbooks in ``tree``, and those of its jobs. The target is as before afterwards."""
    folder.mkdir()
    migration = Migration(source, target, binaries.clients().bin_dir, folder, DATABASE, "bench", warm=False)
    command = [word.replace(str(ROOT / "playbooks"), str(tree / "playbooks")) for word in migration.command()]
    variables = environment()
    if tree != ROOT:
        variables["ANSIBLE_COLLECTIONS_PATH"] = str(tree.parents[2])
    began = time.monotonic()
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    whole = time.monotonic() - began
    if done.returncode:
        sys.exit(f"The migration failed:\n{done.stdout}{done.stderr}")
    phases = migration.record["phases"].values()
    jobs = sum(float(phase["result"].get("seconds") or 0) for phase in phases)
    execute(target, f"DROP DATABASE {DATABASE}")
    shutil.rmtree(folder)
    return whole, jobs


if __name__ == "__main__":
    main(sys.argv[1:])
