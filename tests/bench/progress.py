# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How true "time left" is: a whole migration, what it said at each moment, and when each step was really over.

The error of a prediction is given as a part of the step's own duration: 10 % of an hour are six minutes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from support import binaries, seed
from support.migration import Migration, environment

from bench.servers import SOURCE, TARGET, servers

DOCUMENTS = 400_000
LOOK_SECONDS = 0.5
# A step shorter than that has nothing to predict.
SHORTEST_SECONDS = 5.0
MOMENTS = (0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Sample:
    """What was said at a moment: seconds left (None: nothing yet), of a step."""

    at: float
    step: str
    left: float | None


def main(arguments: list[str]) -> None:
    """Run it and print the table."""
    documents = int(arguments[0]) if arguments else DOCUMENTS
    with ExitStack() as stack:
        source, target = stack.enter_context(servers())
        work = stack.enter_context(tempfile.TemporaryDirectory())
        seed.seed(source, "bench", documents=documents)
        seed.create_role(target, seed.OWNER)
        steps = _watch(Migration(source, target, binaries.clients().bin_dir, Path(work), "bench", warm=False))
    print(f"{documents:,} documents, PostgreSQL {SOURCE} to {TARGET}")
    print(f"{'step':<28}{'took':>8}" + "".join(f"{f'at {moment:.0%}':>10}" for moment in MOMENTS))
    errors = [error for samples in steps for error in _report(samples) if error is not None]
    if errors:
        print(f"median error {statistics.median(errors):.0%}, worst {max(errors):.0%} of the step's duration")
    else:
        print("no step was long enough to say when it would end: give more documents")


def _watch(migration: Migration) -> list[list[Sample]]:
    """Run the migration; returns the samples of each step."""
    steps: list[list[Sample]] = []
    command = migration.command()
    with subprocess.Popen(command, cwd=migration.folder, env=environment(), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for folder in job.job_folders(str(migration.folder / "state"), migration.name):
                state = job.read_state(folder)
                if state.status == "running" and state.progress.get("step"):
                    _add(steps, f"{folder.name}: {state.progress['step']}", state.progress)
            time.sleep(LOOK_SECONDS)
    if process.returncode:
        sys.exit(f"the migration failed: {process.returncode}")
    return steps


def _add(steps: list[list[Sample]], name: str, progress: dict[str, Any]) -> None:
    lefts = [track["left"] for track in progress["tracks"] if track["left"] is not None]
    # What was written at the last heartbeat is by now as much older.
    age = time.time() - progress["heartbeat"]
    sample = Sample(time.time(), name, max(lefts) - age if lefts else None)
    if not steps or steps[-1][0].step != name:
        steps.append([])
    steps[-1].append(sample)


def _report(samples: list[Sample]) -> list[float | None]:
    began, ended = samples[0].at, samples[-1].at
    took = ended - began
    if took < SHORTEST_SECONDS:
        return []
    errors = []
    for moment in MOMENTS:
        at = began + moment * took
        nearest = min(samples, key=lambda sample: abs(sample.at - at))
        errors.append(None if nearest.left is None else abs(nearest.at + nearest.left - ended) / took)
    shown = "".join(f"{'nothing' if error is None else f'{error:.0%}':>10}" for error in errors)
    print(f"{samples[0].step:<28}{took:>6.0f} s{shown}")
    return errors


if __name__ == "__main__":
    main(sys.argv[1:])
