# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line that a server's pg_hba.conf lacks, for messages."""

from __future__ import annotations

import re
import socket

from .identifiers import quote


def hba_name(name: str) -> str:
    """The name of a database or role, as pg_hba.conf takes it."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quote(name)


def hba_line(database: str, user: str, host: str, port: int, method: str = "scram-sha-256") -> str:
    """A line that lets this host log in. host: where the server is, empty for its socket."""
    names = f"{hba_name(database)} {hba_name(user)}"
    if not host:
        return f"local {names} peer"
    address = _own_address(host, port)
    return f"host {names} {address}/{128 if ':' in address else 32} {method}"


def _own_address(host: str, port: int) -> str:
    """The address of this host from which it reaches another one; nothing is sent."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return "<address of this host>"
