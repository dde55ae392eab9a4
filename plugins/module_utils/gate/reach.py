# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this host can log in to the source with a key. Changes nothing."""

from __future__ import annotations

import socket
from typing import Iterable

from ..common.errors import MigrationError
from ..host import programs

CONNECT_SECONDS = 5


def obstacles(of_source: Iterable[str], address: str, port: int) -> list[str]:
    """Reasons why this host can't log in to the source with a key. of_source: what ``authorized_keys.obstacles`` found there."""
    found = anywhere(of_source)
    reason = unreachable(address, port)
    if reason:
        found.append(f"The target doesn't reach the source's sshd at {address}, port {port}: {reason}.")
    return found


def anywhere(of_source: Iterable[str]) -> list[str]:
    """Reasons why this host can't log in with a key, not even through a tunnel to the source's sshd.

    Of the source's obstacles, only a shell that prevents every login counts, because sshd may have other settings than an ordinary user can
    read.
    """
    found = []
    for name in ("ssh", "ssh-keygen"):
        try:
            programs.locate(name, "")
        except MigrationError:
            found.append(f"{name} is missing on the target (Debian: openssh-client).")
    return found + [sentence for sentence in of_source if "shell" in sentence]


def unreachable(address: str, port: int) -> str:
    """Why no sshd answers at the address; empty when one does."""
    try:
        with socket.create_connection((address, port), CONNECT_SECONDS) as connection:
            connection.settimeout(CONNECT_SECONDS)
            banner = connection.recv(4)
    except OSError as error:
        return str(error.strerror or error)
    return "" if banner == b"SSH-" else "the server there is not an sshd"
