# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many runs of ``ansible-playbook``, two at a time, each in a fork of one process that has Ansible imported already.

    run_all([["preflight.yml", "-i", "inventory.json"], ...], folders)

As a program it reads ``[{"arguments": [...], "folder": "..."}, ...]`` and prints ``[{"code": 1, "output": "..."}, ...]``.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Sequence

from ansible.cli.playbook import PlaybookCLI

from .migration import Run, environment

AT_A_TIME = 2
SECONDS = 280


def run_all(commands: Sequence[Sequence[str]], folders: Sequence[Path], through: Sequence[str] = ()) -> list[Run]:
    """Run them all, each with the arguments of a command in its folder; ``through``: a command that runs another one."""
    asked = [{"arguments": list(words), "folder": str(folder)} for words, folder in zip(commands, folders)]
    done = subprocess.run(
        [*through, sys.executable, "-m", "support.many_playbooks"],
        cwd=Path(__file__).parents[1],
        env=environment(),
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    return [Run(entry["code"], entry["output"]) for entry in json.loads(done.stdout)]


def main() -> None:
    """Entry point."""
    asked = json.loads(sys.stdin.read())
    answers: list[dict[str, Any]] = [{} for _entry in asked]
    gc.freeze()
    running: dict[int, tuple[int, Any]] = {}
    for number, entry in enumerate(asked):
        if len(running) == AT_A_TIME:
            _wait(running, answers)
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is read
        pid = os.fork()
        if pid == 0:
            _run(entry, output.fileno())
        running[pid] = (number, output)
    while running:
        _wait(running, answers)
    print(json.dumps(answers))


def _run(entry: dict[str, Any], output: int) -> None:
    code = 1
    try:
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(entry["folder"])
        try:
            PlaybookCLI.cli_executor(["ansible-playbook", *entry["arguments"]])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _wait(running: dict[int, tuple[int, Any]], answers: list[dict[str, Any]]) -> None:
    pid, status = os.wait()
    number, output = running.pop(pid)
    with output:
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    answers[number] = {"code": os.waitstatus_to_exitcode(status), "output": text}


if __name__ == "__main__":
    main()
