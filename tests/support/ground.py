# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and folders that are put back as they were, so that a module can be killed at each of its changes, one after the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Sequence

from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job

from .clusters import Cluster
from .places import ROOT

INJECTOR = ROOT / "tests" / "support" / "crashing"
# These change all the time, and a job's code is copied file by file.
IGNORED = r"/code/.+/|progress\.json|/limits\.json|/work/"
STAMP = re.compile(r"(?<=_)\d{8}T\d{6}")
# pg_dump's keys are random, and so are the salts of passwords.
RANDOM = re.compile(r"^\\(un)?restrict .*\n|(?<=SCRAM-SHA-256)\$[^']+", re.MULTILINE)
JOB = "jobs.runner"


class Ground:
    """Some clusters and a folder of a migration on them; ``keep`` remembers how they are, ``back`` puts them back."""

    def __init__(self, folder: Path, kept: Path, bin_dir: Path, *clusters: Cluster) -> None:
        self.folder, self._kept, self._bin_dir, self._clusters = folder, kept, bin_dir, clusters

    def keep(self) -> None:
        """Remember how all is now."""
        for cluster in self._clusters:
            cluster.stop()
        shutil.rmtree(self._kept, ignore_errors=True)
        self._kept.mkdir()
        for number, folder in enumerate(self._folders()):
            subprocess.run(["cp", "-a", str(folder), str(self._kept / str(number))], check=True)
        for cluster in self._clusters:
            cluster.start()

    def back(self) -> None:
        """Put all back."""
        processes.kill_all([pid for path in self.folder.rglob("jobs/*") for pid in processes.of_job(path)], 0)
        for cluster in self._clusters:
            # One that is killed leaves its shared memory.
            cluster.stop("immediate")
        for number, folder in enumerate(self._folders()):
            shutil.rmtree(folder)
            subprocess.run(["cp", "-a", str(self._kept / str(number)), str(folder)], check=True)
        for cluster in self._clusters:
            cluster.start()

    def _folders(self) -> list[Path]:
        return [self.folder, *(cluster.data_directory for cluster in self._clusters)]

    def seen(self) -> dict[str, str]:
        """All that is on the servers, as pg_dumpall prints it, and the names of the files."""
        found = {}
        for number, cluster in enumerate(self._clusters):
            command = [self._bin_dir / "pg_dumpall", f"--dbname={cluster.dsn()}"]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[f"server {number}"] = STAMP.sub("TIME", RANDOM.sub("", text))
        names = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if "/code/" not in str(path)]
        found["files"] = "\n".join(sorted({STAMP.sub("TIME", name) for name in names}))
        return found

    def changes(self, act: Callable[[dict[str, str]], Any], program: str) -> list[str]:
        """Every change that ``act`` makes, in their order."""
        log = self._kept / "log"
        log.unlink(missing_ok=True)
        self.back()
        result = act(self._environment(0, program))
        if result.get("failed"):
            raise AssertionError(result)
        return log.read_text(encoding="utf-8").splitlines()

    def kill(self, act: Callable[[dict[str, str]], Any], program: str, at: int) -> None:
        """Let ``act`` be killed at its change number ``at``."""
        self.back()
        # A module that was killed says nothing.
        try:
            act(self._environment(at, program))
        except AssertionError as error:
            if "said no JSON" not in str(error):
                raise
        for path in self.folder.rglob("jobs/*"):
            job.wait(path, 60)

    def _environment(self, at: int, program: str) -> dict[str, str]:
        return killed_at(at, program, self.folder, IGNORED, self._kept / "log")


def killed_at(at: int, program: str, root: Path, ignored: str, log: Path) -> dict[str, str]:
    """The environment in which a program is killed at its change number ``at``, 0 for never; ``log`` gets a line for each change.

    program: a part of its command line. ignored: a regular expression for paths below ``root`` whose changes don't count.
    """
    wanted = {
        "root": str(root),
        "at": at,
        "ignored": ignored,
        "log": str(log),
        "program": program,
        "group": program == JOB,
    }
    path = os.pathsep.join([str(INJECTOR), str(ROOT / ".cache" / "link")])
    return {"PYTHONPATH": path, "COUCH2PG_CRASH": json.dumps(wanted)}


def differences(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """The lines that are in one of them only."""
    lines = []
    for name, text in wanted.items():
        if found[name] != text:
            here, there = found[name].splitlines(), text.splitlines()
            lines += [f"{name}: -{line}" for line in there if line not in set(here)]
            lines += [f"{name}: +{line}" for line in here if line not in set(there)]
    return lines


def check_changes(
    ground: Ground,
    program: str,
    act: Callable[[dict[str, str]], dict[str, Any]],
    chosen: Callable[[list[str]], Sequence[int]],
) -> list[str]:
    """Kill ``act`` at the ``chosen`` ones of its changes; after each, ``act`` alone must lead to what it leads to without a kill.

    act: runs a module with this environment. Returns the changes.
    """
    changes = ground.changes(act, program)
    wanted = ground.seen()
    failures = []
    for at in chosen(changes):
        ground.kill(act, program, at)
        result = act({})
        found = [str(result)] if result.get("failed") else differences(ground.seen(), wanted)
        if found:
            failures.append(f"killed at change {at} ({changes[at - 1]}): {found[:12]}")
    if failures:
        raise AssertionError("\n".join(failures))
    return changes


def every(changes: list[str]) -> Sequence[int]:
    """All of the changes, but of those of a temporary file only the last one: the others have their tests without servers."""
    return [number for number, change in enumerate(changes, 1) if not re.match(r"open(ed)? .*\.part$", change)]


def of_kinds(*kinds: str) -> Callable[[list[str]], Sequence[int]]:
    """The first change of each kind: the beginning of its description."""

    def choose(changes: list[str]) -> Sequence[int]:
        found = []
        for kind in kinds:
            numbers = [number for number, change in enumerate(changes, 1) if change.startswith(kind)]
            if not numbers:
                raise AssertionError(f"no change {kind!r} among {changes}")
            found.append(numbers[0])
        return sorted(set(found))

    return choose
