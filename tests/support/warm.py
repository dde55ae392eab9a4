# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks and modules as processes that need not import Ansible: see ``warm_server``."""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Mapping, Sequence

from .places import ROOT, SupportError

SERVER = Path(__file__).with_name("warm_server.py")
_starting = threading.Lock()


class WarmProcess:
    """A playbook or a module that runs; ``pid`` leads a process group and a session of its own.

    kind: ``playbook`` or ``module``.
    arguments: those of ``ansible-playbook`` with its name, or the name that Python imports the module by.
    stdin, stdout, stderr: paths of files that exist; output is appended.
    """

    def __init__(
        self,
        kind: str,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: Path,
        stderr: Path | None = None,
        stdin: Path = Path(os.devnull),
    ) -> None:
        with _starting:
            address = _server()
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        files = {"stdin": str(stdin), "stdout": str(stdout), "stderr": str(stderr or stdout)}
        request = {"kind": kind, "arguments": [*arguments], "cwd": str(cwd), "env": {**env}, **files}
        self._connection.sendall(f"{json.dumps(request)}\n".encode())
        # Not buffered: what was read already, select could not tell.
        self._answers = self._connection.makefile("rb", buffering=0)
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, as soon as it ends. Raises ``subprocess.TimeoutExpired``."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], timeout)[0]:
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._connection.close()
        return self.returncode


@lru_cache(maxsize=None)
def _server() -> str:
    """The address of the server of this process, which is started now."""
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    address = str(Path(folder.name) / "socket")
    process = subprocess.Popen(
        [sys.executable, str(SERVER), address],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder.name,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise SupportError(f"{SERVER.name} does not start: exit code {process.wait()}")
    stdin = process.stdin

    def end() -> None:
        with suppress(OSError):
            stdin.close()
        process.wait()
        folder.cleanup()

    atexit.register(end)
    return address


def environment() -> dict[str, str]:
    """As an operator's shell has it: nothing of Ansible's but where collections are."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PG"))}
    clean["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / ".cache" / "link")
    clean["ANSIBLE_HOME"] = str(ROOT / ".cache" / "ansible")
    clean["PATH"] = f"{Path(sys.executable).parent}:{clean['PATH']}"
    clean["ANSIBLE_NOCOLOR"] = "1"
    return clean
