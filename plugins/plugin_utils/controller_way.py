# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forward a port of the target to the source's sshd, if only the controller reaches both hosts.

Two ssh processes do that: one forwards a socket on the controller to the source's sshd, the other forwards a port on the target to
that socket. The forwarded connection is ssh itself, from the target to the source, so the controller can't read it. Both processes
are children of ``way_guard``. It ends them and removes the socket when this process ends, for whatever reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from ansible.errors import AnsibleError

from . import way_guard

PREFIX = "couch2pg-way-"
# They come before the inventory's own options, because ssh uses the first one. A shared connection can't be used here.
OPTIONS = (
    *("-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"),
    *("-o", "Compression=no", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-a", "-x", "-T"),
)
INSTEAD = "Run again when that is possible, or set couch2pg_method to archive."


@contextmanager
def opened(target: Any, source: Any, port: int) -> Iterator[None]:
    """While this lasts, connections to ``port`` on the target's loopback reach the source's sshd.

    target, source: Ansible's connections. Raises AnsibleError when one of the two does not let connections through.
    """
    folder = _folder()
    try:
        socket = folder / "sshd"
        commands = [
            _ssh(source, "-L", f"{socket}:{_sshd_of(source)}"),
            _ssh(target, "-R", f"127.0.0.1:{port}:{socket}"),
        ]
        plan: way_guard.Plan = {"commands": commands, "folder": str(folder), "parent": os.getppid()}
        guard = subprocess.Popen(
            [sys.executable, "-I", way_guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C reaches only this process, and the guard ends after it.
            start_new_session=True,
        )
        with guard:
            # The guard forwards as long as this pipe is open.
            if guard.stdin is None or guard.stdout is None:
                raise AssertionError("there are pipes")
            with guard.stdin as stdin:
                stdin.write(json.dumps(plan) + "\n")
                stdin.flush()
                answer = json.loads(guard.stdout.readline() or '{"said": "it ended"}')
                if not answer.get("ready"):
                    raise AnsibleError(
                        f"The way through the controller could not be opened: {answer['said']}. {INSTEAD}"
                    )
                yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    """A new folder (0700) for the socket; those of processes that were killed with their guard are removed."""
    root = Path(tempfile.gettempdir())
    for path in root.glob(f"{PREFIX}*"):
        if not way_guard.is_alive(int(path.name[len(PREFIX) :].split("-")[0])):
            shutil.rmtree(path, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def _sshd_of(source: Any) -> str:
    """Address and port of the source's sshd as the source knows them: those that this connection has reached."""
    code, output, _errors = source.exec_command(f"echo {way_guard.READY} $SSH_CONNECTION", sudoable=False)
    words = output.decode(errors="replace").rpartition(way_guard.READY)[2].split()
    if code or len(words) != 4:
        raise AnsibleError(f"The source doesn't say where its sshd is (SSH_CONNECTION). {INSTEAD}")
    return f"[{words[2]}]:{words[3]}"


def _ssh(connection: Any, *forwarding: str) -> list[str]:
    """The command with which Ansible's connection would log in, with a forwarding added."""
    if connection.get_option("password"):
        raise AnsibleError(f"A way through the controller needs keys for both hosts, not passwords. {INSTEAD}")
    host = connection.get_option("host") or connection._play_context.remote_addr  # noqa: SLF001 - as the plugin itself
    # Only this method of the plugin turns the inventory's options into options of ssh.
    words = connection._build_command(  # noqa: SLF001
        connection.get_option("ssh_executable"), "ssh", *forwarding, host, f"echo {way_guard.READY}; exec cat"
    )
    program, *rest = (os.fsdecode(word) for word in words)
    return [program, *OPTIONS, *rest]
