# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A separate process that runs the ssh processes of ``controller_way``, and ends them with the process that needs them.

It reads one line of JSON (``Plan``), answers with one (``ready`` or ``said``), and then waits until its
input ends, ``parent`` has ended, or one of the commands has.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

# Each command says this when it has logged in, after what the login says.
READY = "cht.couch2pg.ready"
LOOK_SECONDS = 1.0
END_SECONDS = 5.0


class Plan(TypedDict):
    """What ``hold`` reads. folder: for what the commands say; parent: the process that started this one."""

    commands: list[list[str]]
    folder: str
    parent: int


def is_alive(pid: int) -> bool:
    """Whether the process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def hold(plan: Plan) -> None:
    """Start the commands, one after the other, and wait."""
    log = Path(plan["folder"], "said")
    started: list[subprocess.Popen[str]] = []
    try:
        for command in plan["commands"]:
            with log.open("w", encoding="utf-8") as stream:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True, errors="replace"
                )
            started.append(process)
            if process.stdout is None:
                raise AssertionError("there is a pipe")
            if not any(READY in line for line in process.stdout):
                said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                return answer(said=said[-1].rstrip(".") if said else "ssh ended without a message")
        answer(ready=True)
        while is_alive(plan["parent"]) and all(process.poll() is None for process in started):
            if select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
                break
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(plan["folder"], ignore_errors=True)


def answer(**words: Any) -> None:
    """Send an answer to the process that started this one."""
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    hold(json.loads(sys.stdin.readline()))
