# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports for throw-away servers."""

from __future__ import annotations

import random
import socket

from .places import SupportError

# Below the range from which the kernel takes ports for outgoing connections.
PORTS = range(20000, 32000)


def free_port() -> int:
    """A port on which nothing listens on this machine."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SupportError(f"No free port was found between {PORTS.start} and {PORTS.stop}.")
