# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the bandwidth of the line from the source, and decide whether ssh compresses the data."""

from __future__ import annotations

import time
from pathlib import Path

from ..host import programs
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session
from . import forced_command, key

PROBE_SECONDS = 3.0
CONNECTION_SECONDS = 2.0
# Measured with rows of 64 kB that can't be compressed well: random characters, none of which COPY escapes.
MOST_ROWS = 1024
_COPY = """
COPY (
    WITH sample AS (
        SELECT pg_catalog.string_agg(pg_catalog.chr(35 + pg_catalog.floor(pg_catalog.random() * 57)::int), '') AS text
        FROM pg_catalog.generate_series(1, 65536)
    )
    SELECT sample.text FROM sample, pg_catalog.generate_series(1, {rows})
) TO STDOUT
"""
# ssh compresses couch2pg's documents to about a fourth, at 30 MB/s on one core. A faster line would have to wait for the compression.
COMPRESS_BELOW = 25_000_000


def bytes_per_second(configuration: Path) -> float:
    """Measure the line for at most PROBE_SECONDS; 0 when nothing came. ``configuration``: the file for ``ssh -F``."""
    ssh = programs.locate("ssh", "Install OpenSSH's client on the target.")
    output = programs.Output([ssh, "-F", str(configuration), "-T", key.SOURCE, forced_command.PROBE])
    begun, received = 0.0, 0
    for chunk in output:
        now = time.monotonic()
        # The first chunk doesn't count, because it was sent while ssh logged in.
        begun, received = begun or now, received + len(chunk) if begun else 0
        if now - begun > PROBE_SECONDS:
            break
    passed = time.monotonic() - begun
    return received / passed if begun and passed > 0 else 0.0


def bytes_per_second_to(settings: ConnectionSettings) -> float:
    """Measure the line of a connection to a server for about CONNECTION_SECONDS at most. The server generates the text.

    Each answer has twice as many rows as the one before. Only the last one counts, so that the start of the connection doesn't.
    """
    rate, rows, begun = 0.0, 4, time.monotonic()
    with Session(settings) as session:
        while time.monotonic() - begun < CONNECTION_SECONDS / 2 and rows <= MOST_ROWS:
            rate = _rate_of(session, rows) or rate
            rows *= 2
    return rate


def _rate_of(session: Session, rows: int) -> float:
    """Bytes per second, measured from the first row on, so that the round trip doesn't count."""
    arrived: list[tuple[float, int]] = []
    session.copy_out(_COPY.format(rows=rows), lambda data: arrived.append((time.monotonic(), len(data))))
    passed = arrived[-1][0] - arrived[0][0]
    return sum(size for _when, size in arrived[1:]) / passed if passed > 0 else 0.0


def is_slow(rate: float) -> bool:
    """Whether compression makes the copy faster at this rate in bytes per second; 0 means unknown."""
    return 0 < rate < COMPRESS_BELOW
