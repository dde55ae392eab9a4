# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key of a transfer on the target, and how ssh uses it: nothing of the user's own configuration, one pinned host."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from ..common.errors import MigrationError
from ..host import programs
from ..host.files import make_private_folder, remove_tree, write_text
from ..jobs import job

KIND = "transfer"
# The name under which ssh knows the source, whatever its address.
SOURCE = "couch2pg-source"
CONNECT_SECONDS = 10
# The source says them, and they become lines of ssh's configuration, which can run commands.
_WORDS = {
    "address": re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]*(%[A-Za-z0-9_.-]+)?"),
    "user": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?"),
    "host_keys": re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}"),
}


def key_folder(job_folder: Path) -> Path:
    """Where the key lives, as long as the job may need it."""
    return job_folder / "key"


def make(job_folder: Path) -> dict[str, Any]:
    """A new key, or the one that the running job uses; returns its public half."""
    folder = key_folder(job_folder)
    public = folder / "id.pub"
    running = job.read_state(job_folder).status == "running"
    if not (running and public.exists()):
        remove_tree(folder)
        make_private_folder(folder)
        keygen = programs.locate("ssh-keygen", "Install OpenSSH's client programs on the target.")
        answer = programs.ask([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "cht.couch2pg", "-f", str(folder / "id")])
        if answer.code:
            raise MigrationError(f"ssh-keygen could not make a key in {folder}: {answer.stderr}.", "key_not_made")
    return {"public_key": " ".join(public.read_text(encoding="ascii").split()[:2]), "running": running}


def remove(job_folder: Path, write: bool = True) -> bool:
    """Remove the key, unless a job runs that uses it; whether there was one."""
    folder = key_folder(job_folder)
    if not folder.exists() or job.read_state(job_folder).status == "running":
        return False
    if write:
        shutil.rmtree(folder)
    return True


def configure(folder: Path, parameters: dict[str, Any]) -> Path:
    """Write what ssh needs to reach the source, and only that; returns the file to give with ``-F``.

    Raises MigrationError ``bad_word``.
    """
    for name, allowed in _WORDS.items():
        given = parameters[name]
        for word in given if isinstance(given, list) else [given]:
            if not allowed.fullmatch(word):
                raise MigrationError(
                    f"{word!r} can't be {name} of the source, and was not used. Check couch2pg_transfer_address, "
                    "and look who has changed something on the source.",
                    "bad_word",
                )
    known = folder / "known_hosts"
    write_text(known, "".join(f"{SOURCE} {key}\n" for key in parameters["host_keys"]))
    path = folder / "ssh_config"
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
    """What the gate on the source says."""
    ssh = programs.locate("ssh", "Install OpenSSH's client on the target.")
    return programs.ask([ssh, "-F", str(configuration), "-T", SOURCE, question])


def _quoted(path: Path) -> str:
    """A path as ssh's configuration has it: ``%`` begins a token there."""
    return '"{}"'.format(str(path).replace("%", "%%"))
