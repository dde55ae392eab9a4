# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect the host keys of this host's sshd. They can be trusted because Ansible's verified connection transmits them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ..common.errors import MigrationError
from ..host import programs

FOLDER = Path("/etc/ssh")
SCAN_SECONDS = 5


def host_keys(address: str, port: int) -> list[str]:
    """Type and key of every public host key: those in /etc/ssh, and those that sshd presents on this port.

    ``address`` is used only if it belongs to this host, so that no other host is asked.
    """
    found = []
    for path in sorted(FOLDER.glob("ssh_host_*_key.pub")):
        try:
            found.append(_key(path.read_text(encoding="ascii").split()))
        except (OSError, UnicodeDecodeError):
            continue
    for place, its_port in _places(address, port):
        found += _scan(place, its_port)
    return sorted({key for key in found if key})


def _places(address: str, port: int) -> list[tuple[str, int]]:
    """Addresses and ports where sshd may listen."""
    places = [("127.0.0.1", port), ("::1", port)]
    # The address of Ansible's own connection, unless sudo has removed the variable.
    words = os.environ.get("SSH_CONNECTION", "").split()
    if len(words) == 4:
        places.append((words[2], int(words[3])))
    if _is_here(address):
        places.append((address, port))
    return sorted(set(places))


def _is_here(address: str) -> bool:
    """Whether the address belongs to this host."""
    try:
        family, _type, _protocol, _name, place = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(place)
    except OSError:
        return False
    return True


def _scan(address: str, port: int) -> list[str]:
    try:
        command = [programs.locate("ssh-keyscan", ""), "-T", str(SCAN_SECONDS), "-p", str(port), address]
        lines = programs.ask(command).output.splitlines()
    except MigrationError:
        return []
    return [_key(line.split()[1:]) for line in lines if not line.startswith("#")]


def _key(words: list[str]) -> str:
    return " ".join(words[:2]) if len(words) >= 2 else ""
