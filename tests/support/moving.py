# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive that goes from one host to another, moved by the role as somebody uses it who uses it alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible_collections.cht.couch2pg.plugins.module_utils.archive import layout, manifest
from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes
from ansible_collections.cht.couch2pg.plugins.module_utils.host.files import write_json
from ansible_collections.cht.couch2pg.plugins.module_utils.jobs import job
from ansible_collections.cht.couch2pg.plugins.module_utils.transfer import early

from .cabled_hosts import Host, Network
from .migration import RUN_SECONDS, Run, environment

NAME = "moving"
PLAYBOOK = """
- hosts: target
  gather_facts: false
  become: true
  become_user: "{{ couch2pg_become_user }}"
  roles:
    - role: cht.couch2pg.transfer
      vars:
        transfer_source_host: source
"""
EARLY_PLAYBOOK = """
- hosts: target
  gather_facts: false
  become: true
  become_user: "{{ couch2pg_become_user }}"
  tasks:
    - name: Begin
      ansible.builtin.include_role: {name: cht.couch2pg.transfer, tasks_from: early}
      vars:
        transfer_source_host: source
        transfer_early: always
"""
# One that takes a while, one in a folder, one that is empty.
FILES = {"archive/3001.dat.gz": 6_000_000, "archive/toc.dat": 40_000, "archive/empty.dat": 0, "evidence.json": 2_000}


class Moving:
    """The archive, and runs of the role."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self.variables: dict[str, Any] = {
            "couch2pg_migration_id": NAME,
            "couch2pg_transfer_address": network.source_for_target,
            "couch2pg_transfer_silence_seconds": 3,
            "couch2pg_progress_seconds": 0.5,
            "couch2pg_records_dir": str(folder / "records"),
        }
        self.source_variables: dict[str, Any] = {}
        self.target_variables: dict[str, Any] = {}
        self.playbook = PLAYBOOK
        for host in (network.source, network.target):
            for place in ("state of migrations", "staging area"):
                for left in (host.folder / place).iterdir():
                    shutil.rmtree(left)
            shutil.rmtree(host.home / ".ssh", ignore_errors=True)
        self.sent = self.make_archive(network.source, NAME)

    def make_archive(self, host: Host, migration_id: str) -> Path:
        """An archive of random bytes, which can't be guessed from others."""
        root = host.folder / "staging area" / NAME
        shutil.rmtree(root, ignore_errors=True)
        for path, size in FILES.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(os.urandom(size))
        listing = manifest.create(root, 1)
        write_json(root / layout.MANIFEST, dict(listing, migration_id=migration_id, options={"compression": "gzip:6"}))
        run_private(host, root)
        return root

    @property
    def arrived(self) -> Path:
        """Where it stands on the target when it is proven."""
        return self.network.target.folder / "staging area" / NAME

    @property
    def partial(self) -> Path:
        """Where it is while it arrives."""
        return self.arrived.with_name(f"{NAME}.partial")

    @property
    def early(self) -> Path:
        """Where what is still being written arrives."""
        return self.arrived.with_name(f"{NAME}.early")

    @property
    def job(self) -> Path:
        """The job's folder."""
        return self.network.target.folder / "state of migrations" / NAME / "jobs" / "transfer"

    @property
    def record(self) -> dict[str, Any]:
        """What the record says of the transfer."""
        path = self.job.parents[1] / "record.json"
        entry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["phases"]["transfer"]
        return entry

    @property
    def result(self) -> dict[str, Any]:
        """What the transfer returned."""
        found: dict[str, Any] = self.record["result"]
        return found

    def start(self, *arguments: str) -> Running:
        """Begin a run."""
        inventory = {
            "all": {
                "vars": self.variables,
                "hosts": {
                    "source": {**self.network.source.variables, **self.source_variables},
                    "target": {**self.network.target.variables, **self.target_variables},
                },
            }
        }
        (self.folder / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
        (self.folder / "play.yml").write_text(self.playbook, encoding="utf-8")
        return Running(self.network, ["ansible-playbook", "-i", "inventory.json", "play.yml", *arguments], self.folder)

    def succeed(self, *arguments: str) -> Run:
        """A run that must end well, without a warning, and with every byte in its place."""
        run = self.start(*arguments).end()
        if run.code or run.warnings:
            raise AssertionError(run.output)
        if "--check" not in arguments:
            self.check()
        return run

    def fail(self) -> str:
        """A run that must fail; returns its sentence."""
        run = self.start().end()
        if not run.code or "Traceback" in run.output:
            raise AssertionError(run.output)
        return run.message

    def check(self) -> None:
        """The archive is there byte for byte, for its owner alone; nothing else is left on either host."""
        if contents(self.arrived) != contents(self.sent):
            raise AssertionError("another archive has arrived than was sent")
        owner = self.network.target.user
        for path in (self.arrived, *self.arrived.rglob("*")):
            if path.owner() != owner or path.stat().st_mode & 0o077:
                raise AssertionError(f"{path} is {path.owner()}'s, {path.stat().st_mode:o}")
        self.check_nothing_is_left()

    def check_nothing_is_left(self) -> None:
        """No key, no line, no gate, no process, nothing half-done."""
        gate = self.network.source.folder / "state of migrations" / NAME / "gate"
        left: dict[str, Any] = {
            "key": (self.job / "key").exists(),
            "gate": gate.exists(),
            "line": self.network.source.keys.exists() and "cht.couch2pg" in self.network.source.keys.read_text(),
            "partial": self.partial.exists(),
            "early": self.early.exists() or (self.job.with_name(early.KIND) / "key").exists(),
            "work": (self.job / "work").exists(),
            "running": job.read_state(self.job).status == "running",
            "processes": [*processes.of_job(self.job), *processes.of_job(gate)],
        }
        if any(left.values()):
            raise AssertionError(f"something is left: {left}")

    def bytes_there(self) -> int:
        """How much of the large file has arrived."""
        path = self.partial / "archive" / "3001.dat.gz"
        return path.stat().st_size if path.exists() else 0


class Running:
    """A run of ansible-playbook on the controller."""

    def __init__(self, network: Network, command: list[str], folder: Path) -> None:
        self._network = network
        self._output = folder / f"output-{time.monotonic_ns()}"
        with self._output.open("wb") as stream:
            self.process = subprocess.Popen(
                [*network.controller, *command],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._output.read_text(encoding="utf-8")

    def end(self) -> Run:
        """Wait for its end."""
        return Run(self.process.wait(timeout=RUN_SECONDS), self.output)

    def kill(self) -> None:
        """As if the controller had lost its power."""
        self._network.power_off_controller()
        self.process.wait()


def contents(root: Path) -> dict[str, bytes]:
    """Every file below ``root``."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def run_private(host: Host, root: Path) -> None:
    """As a dump leaves it: for its owner alone."""
    host.give(root)
    for path in (root, *root.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
