# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration between two throw-away servers, run as an operator runs it: with playbooks and an inventory."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence, Union

from .clusters import Cluster
from .places import ROOT
from .warm import WarmProcess, environment

WARM_PLAYBOOK = Path(__file__).with_name("warm_playbook.py")
RUN_SECONDS = 300
Process = Union[WarmProcess, "subprocess.Popen[bytes]"]


@dataclass(frozen=True)
class Run:
    """What one run of ansible-playbook did."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """Tasks that changed something, on all hosts."""
        return sum(int(number) for number in re.findall(r"changed=(\d+)", self.output))

    @property
    def warnings(self) -> list[str]:
        """What Ansible warned of; a normal run has none."""
        return re.findall(r"\[(?:WARNING|DEPRECATION WARNING|DEPRECATED)\].*", self.output)

    @property
    def message(self) -> str:
        """The sentence of the task that failed last."""
        found = re.findall(r'(?:fatal|failed): \[.*?\]: FAILED! => .*?"msg": "((?:[^"\\]|\\.)*)"', self.output)
        return json.loads(f'"{found[-1]}"') if found else ""

    @property
    def planned(self) -> list[str]:
        """The steps that a run in check mode lists at its end, each with its host."""
        return re.findall(r'"  \d+\. (.*)"', self.output)


@dataclass
class Migration:
    """Source, target, and the folder where state, archives and records go. ``variables`` go into the inventory."""

    source: Cluster
    target: Cluster
    bin_dir: Path
    folder: Path
    database: str
    name: str = "test"
    variables: dict[str, Any] = field(default_factory=dict)
    host_variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Modules run in forks (see warm_playbook), which takes half the time; False is exactly what an operator runs.
    warm: bool = True

    @property
    def state(self) -> Path:
        """Where both hosts keep the state of this migration."""
        return self.folder / "state" / self.name

    @property
    def archive(self) -> Path:
        """Where the archive stands when it is finished."""
        return self.folder / "staging" / self.name

    @property
    def record(self) -> dict[str, Any]:
        """The record as it is now."""
        document: dict[str, Any] = json.loads((self.state / "record.json").read_text(encoding="utf-8"))
        return document

    def all_variables(self) -> dict[str, Any]:
        """What the inventory says of both hosts."""
        return {
            "ansible_connection": "local",
            "ansible_pipelining": True,
            "ansible_python_interpreter": sys.executable,
            "couch2pg_become": False,
            # The tests of couch2pg itself say otherwise.
            "couch2pg_handover": False,
            "couch2pg_database": self.database,
            "couch2pg_migration_id": self.name,
            "couch2pg_bin_dir": str(self.bin_dir),
            "couch2pg_state_dir": str(self.folder / "state"),
            "couch2pg_staging_dir": str(self.folder / "staging"),
            "couch2pg_records_dir": str(self.folder / "records"),
            **self.variables,
        }

    def inventory(self) -> Path:
        """Write the inventory of this moment (0600)."""
        path = self.folder / "inventory.json"
        content = {
            "all": {
                "vars": self.all_variables(),
                "children": {
                    f"couch2pg_{side}": {"hosts": {side: {**login(cluster), **self.host_variables.get(side, {})}}}
                    for side, cluster in (("source", self.source), ("target", self.target))
                },
            }
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    def command(self, playbook: str = "migrate", *arguments: str) -> list[str]:
        """The command line of a run; a ``playbook`` of ours, or a path without its ending."""
        program = [sys.executable, str(WARM_PLAYBOOK)] if self.warm else ["ansible-playbook"]
        return [*program, *self._arguments(playbook, *arguments)]

    def start(self, output: Path, playbook: str = "migrate", *arguments: str, through: Sequence[str] = ()) -> Process:
        """Begin a run in a process group of its own; ``through`` is a command that runs it."""
        output.touch()
        if self.warm and not through:
            words = ["ansible-playbook", *self._arguments(playbook, *arguments)]
            return WarmProcess("playbook", words, cwd=self.folder, env=environment(), stdout=output)
        with output.open("ab") as stream:
            return subprocess.Popen(
                [*through, *self.command(playbook, *arguments)],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, playbook: str = "migrate", *arguments: str) -> Run:
        """Run a playbook to its end."""
        output = self.folder / f"output-{time.monotonic_ns()}"
        process = self.start(output, playbook, *arguments)
        try:
            code = process.wait(timeout=RUN_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        said = output.read_text(encoding="utf-8")
        output.unlink()
        return Run(code, said)

    def _arguments(self, playbook: str, *arguments: str) -> list[str]:
        return [f"{ROOT / 'playbooks' / playbook}.yml", "-i", str(self.inventory()), *arguments]

    def succeed(self, *arguments: str) -> Run:
        """Run migrate.yml, which must end well, without a warning, and without a password in what it says."""
        run = self.run("migrate", *arguments)
        if run.code or run.warnings:
            raise AssertionError(run.output)
        self.check_secrets(run.output)
        return run

    def fail(self, *arguments: str, playbook: str = "migrate") -> str:
        """Run a playbook, which must fail; returns its sentence."""
        run = self.run(playbook, *arguments)
        if not run.code or "Traceback" in run.output:
            raise AssertionError(run.output)
        self.check_secrets(run.output)
        return run.message

    def check_secrets(self, output: str) -> None:
        """No password is in what was printed, nor in any file that the run left (the inventory is ours)."""
        for password in (self.source.password, self.target.password):
            if password in output:
                raise AssertionError(f"a password is in the output: {output}")
            for path in self.folder.rglob("*"):
                if path.is_file() and path.name != "inventory.json" and password.encode() in path.read_bytes():
                    raise AssertionError(f"a password is in {path}")

    def databases(self) -> set[str]:
        """Names of the target's databases."""
        return set(column(self.target, "SELECT datname FROM pg_database WHERE NOT datistemplate"))


def login(cluster: Cluster) -> dict[str, Any]:
    """The collection-wide variables that lead to a server."""
    return {
        "couch2pg_login_host": cluster.host,
        "couch2pg_login_port": cluster.port,
        "couch2pg_login_user": cluster.superuser,
        "couch2pg_login_password": cluster.password,
    }


def execute(cluster: Cluster, sql: str, database: str = "postgres", user: str = "postgres") -> None:
    """Run statements for their effect."""
    connection = cluster.connect(database, user)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def column(cluster: Cluster, sql: str, database: str = "postgres") -> list[Any]:
    """The first column of a query."""
    connection = cluster.connect(database)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()
