# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key of a job on the target, and an ssh configuration for it: only the source's pinned host keys, no user settings."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path
from typing import Any, Mapping, TypedDict

from ..common.errors import MigrationError
from ..host import programs
from ..host.files import make_private_folder, remove_tree, write_text
from ..jobs import job

# The source's name in the ssh configuration, independent of its address.
SOURCE = "couch2pg-source"
CONFIGURATION = "ssh_config"
CONNECT_SECONDS = 10
# The source sends these values, and they are written into ssh's configuration, which can run commands.
_WORDS = {
    "address": re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]*(%[A-Za-z0-9_.-]+)?"),
    "user": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?"),
    "host_keys": re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}"),
}


def key_folder(job_folder: Path) -> Path:
    """The folder of the key, which exists as long as the job may need it."""
    return job_folder / "key"


class Key(TypedDict):
    """A key, and whether a running job uses it. port: a free port of this host, where a tunnel through the controller can start."""

    public_key: str
    running: bool
    port: int


def make(job_folder: Path) -> Key:
    """Create a key, or use that of the running job."""
    folder = key_folder(job_folder)
    public = folder / "id.pub"
    running = job.read_state(job_folder).status == "running"
    if not (running and public.exists()):
        remove_tree(folder)
        make_private_folder(folder)
        keygen = programs.locate("ssh-keygen", "Install OpenSSH's client programs on the target.")
        answer = programs.ask([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "cht.couch2pg", "-f", str(folder / "id")])
        if answer.code:
            raise MigrationError(f"ssh-keygen could not create a key in {folder}: {answer.stderr}.", "key_not_made")
    words = public.read_text(encoding="ascii").split()[:2]
    return {"public_key": " ".join(words), "running": running, "port": _free_port()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def remove(job_folder: Path, write: bool = True) -> bool:
    """Remove the key, unless a running job uses it; returns whether there was one. ``write``: False only checks."""
    folder = key_folder(job_folder)
    if not folder.exists() or job.read_state(job_folder).status == "running":
        return False
    if write:
        shutil.rmtree(folder)
    return True


def configure(folder: Path, parameters: Mapping[str, Any]) -> Path:
    """Write the ssh configuration and known hosts for the source; returns the file for ``ssh -F``.

    Raises MigrationError ``bad_word`` for a value that could be an option or a command.
    """
    for name, allowed in _WORDS.items():
        given = parameters[name]
        for word in given if isinstance(given, list) else [given]:
            if not allowed.fullmatch(word):
                raise MigrationError(
                    f"{word!r} is not a valid value for the source's {name} and was not used. Check "
                    "couch2pg_transfer_address, and check the source for manipulation.",
                    "bad_word",
                )
    known = folder / "known_hosts"
    write_text(known, "".join(f"{SOURCE} {key}\n" for key in parameters["host_keys"]))
    path = folder / CONFIGURATION
    options = {
        "HostName": parameters["address"].replace("%", "%%"),
        "Port": parameters["port"],
        "User": parameters["user"],
        "HostKeyAlias": SOURCE,
        "IdentityFile": _quoted(folder / "id"),
        "UserKnownHostsFile": _quoted(known),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "BatchMode": "yes",
        "ControlPath": "none",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": CONNECT_SECONDS,
        "ServerAliveInterval": max(1, parameters["silence"] // 3),
        "ServerAliveCountMax": 3,
        "LogLevel": "ERROR",
    }
    lines = [f"Host {SOURCE}", *(f"    {name} {value}" for name, value in options.items())]
    write_text(path, "\n".join(lines) + "\n")
    return path


def ask_gate(configuration: Path, question: str) -> programs.Answer:
    """Run a command of the gate on the source."""
    ssh = programs.locate("ssh", "Install OpenSSH's client on the target.")
    return programs.ask([ssh, "-F", str(configuration), "-T", SOURCE, question])


def _quoted(path: Path) -> str:
    """A path for ssh's configuration, where ``%`` starts a token."""
    return '"{}"'.format(str(path).replace("%", "%%"))
