# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the line from the source is, and whether ssh shall compress what goes through it."""

from __future__ import annotations

import time
from pathlib import Path

from ..host import programs
from ..postgres.connection import ConnectionSettings, Session
from . import forced_command, key

PROBE_SECONDS = 3.0
# ssh compresses couch2pg's documents to about a fourth, with 30 MB/s on one core: a faster line would wait for it.
COMPRESS_BELOW = 25_000_000


def bytes_per_second(configuration: Path) -> float:
    """Measure the line for at most PROBE_SECONDS; 0 when nothing came. ``configuration``: the file for ``ssh -F``."""
    ssh = programs.locate("ssh", "Install OpenSSH's client on the target.")
    output = programs.Output([ssh, "-F", str(configuration), "-T", key.SOURCE, forced_command.PROBE])
    begun, received = 0.0, 0
    for chunk in output:
        now = time.monotonic()
        # What came first had time while ssh logged in.
        begun, received = begun or now, received + len(chunk) if begun else 0
        if now - begun > PROBE_SECONDS:
            break
    passed = time.monotonic() - begun
    return received / passed if begun and passed > 0 else 0.0


def bytes_per_second_to(settings: ConnectionSettings) -> float:
    """Measure the line of a connection to a server for about PROBE_SECONDS at most."""
    text, received, begun = 1_000_000, 0, time.monotonic()
    with Session(settings) as session:
        while time.monotonic() - begun < PROBE_SECONDS and received < forced_command.PROBE_BYTES:
            session.value(f"SELECT pg_catalog.repeat('x', {text})")
            received += text
    return received / (time.monotonic() - begun)


def is_slow(rate: float) -> bool:
    """Whether compression makes the copy faster at this rate in bytes per second; 0 means unknown."""
    return 0 < rate < COMPRESS_BELOW
