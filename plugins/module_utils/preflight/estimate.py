# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a migration takes with each method, from the sizes of the database and a measured sample of each server.

One unit of work is to read all rows as text once. The other work of each method, such as digests, indexes and
materialized views, is a multiple of that or of loading the rows. ``tests/bench/run compare`` measured the multiples.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..common.progress_line import amount, duration
from ..gate.line import is_slow
from .sizes import Sizes

METHODS = ("archive", "stream", "physical")
# Bytes of text per second and process, where there is no sample.
USUAL_READING, USUAL_LOADING = 120e6, 60e6
# Bytes per second on a line of 1 Gbit/s and of 100 Mbit/s, without the overhead of the protocols.
FAST_LINE, SLOW_LINE = 112e6, 11e6
# Bytes per second from server to server on one machine. No line is faster.
NO_LINE = 300e6
# Multiples of one reading of all rows: a digest, the indexes, each materialized view.
DIGEST, INDEXES, MATVIEW = 1.1, 0.6, 0.25
# Compressing the archive, as a multiple of the reading, which is not included.
COMPRESSING = 0.9
# Seconds for each table, whatever its size: its statements, files and digest; without the archive, its digest alone. Measured with 500,
# 2,000 and 8,000 small tables and two jobs on an idle machine.
ARCHIVED_TABLE, DIGESTED_TABLE = 0.006, 0.001
# Seconds that don't depend on the size: to compare schemas, to start and to stop.
CONSTANT_SECONDS = 10.0
# Real documents, disks and neighbours differ from the sample.
SHORTEST, LONGEST = 0.7, 1.8
# Another method must be faster by this factor before it is recommended.
MUCH_FASTER = 1.5


@dataclass(frozen=True)
class Pace:
    """What was measured: bytes of text in a second of one process, 0 when unknown; jobs: processes at a time.

    line: bytes in a second from the source to the target, 0 when unknown; no_line: why it is unknown, as a clause of a sentence.
    """

    reading: int
    loading: int
    jobs: int
    line: int = 0
    no_line: str = ""

    def describe(self) -> str:
        """The measured rates as a clause of a sentence."""
        rates = self._of_servers()
        if self.line:
            return f"{rates}; the network link carries {amount(self.line, 'bytes')} in a second"
        return f"{rates}; 1 Gbit/s is assumed for the network link: {self.no_line}" if self.no_line else rates

    def _of_servers(self) -> str:
        known = [
            f"{side} {amount(rate, 'bytes')} of rows as text per second and process"
            for side, rate in (("the source reads", self.reading), ("the target loads", self.loading))
            if rate
        ]
        return " and ".join(known) or "no sample was large enough to measure the servers"


@dataclass(frozen=True)
class Estimate:
    """Seconds of one method: the shortest and the longest.

    Where the line was not measured, they are for one of 1 Gbit/s, and ``slow_line`` is for one of 100 Mbit/s; else that is 0.
    """

    method: str
    shortest: int
    longest: int
    slow_line: int

    def describe(self) -> str:
        """The estimate as a clause of a sentence."""
        slow = (
            f", and {duration(self.slow_line)} over a network link of 100 Mbit/s"
            if self.slow_line > self.longest
            else ""
        )
        return f"{self.method} {duration(self.shortest)} to {duration(self.longest)}{slow}"


def of_methods(sizes: Sizes, matviews: int, pace: Pace, one_machine: bool) -> list[Estimate]:
    """The estimate of each method.

    matviews: their number. one_machine: whether both servers share the processors.
    """
    text = sizes["archive"]["text_bytes"]
    packed = sizes["archive"]["compressed_bytes"]
    jobs = max(1, pace.jobs)
    read = text / (pace.reading or USUAL_READING) / jobs
    load = text / (pace.loading or USUAL_LOADING) / jobs
    after = read * (INDEXES + MATVIEW * matviews)
    digest = DIGEST * read
    tables = sizes["table_count"]
    line = NO_LINE if one_machine else min(pace.line, NO_LINE)
    # On a line that is known to be slow, the rows go through ssh, which compresses them.
    streamed = packed if is_slow(line) else text

    def together(source: float, target: float) -> float:
        return source + target if one_machine else max(source, target)

    # With stream, the statement that reads the rows also digests them. With an archive, the digest reads them once more.
    seconds = {
        "archive": (read * (1 + COMPRESSING) + digest + load + digest + after + ARCHIVED_TABLE * tables, packed),
        "stream": (together(read + digest / 3, load) + digest + after + ARCHIVED_TABLE * tables, streamed),
        # A part of the digests is taken while the files are copied.
        "physical": (1.5 * digest + DIGESTED_TABLE * tables, sizes["server"]),
    }
    return [_estimate(method, work, sent, line) for method, (work, sent) in seconds.items()]


def _estimate(method: str, work: float, sent: int, line: float) -> Estimate:
    """work: seconds of the processors; sent: bytes over the line; line: its bytes in a second, 0 when unknown."""

    def over(rate: float) -> float:
        carried = sent / rate
        # The rows of a stream and their reading and loading overlap.
        return CONSTANT_SECONDS + (max(work, carried) if method == "stream" else work + carried)

    usual = over(line or FAST_LINE)
    slow = 0 if line else over(SLOW_LINE)
    return Estimate(method, round(usual * SHORTEST), round(usual * LONGEST), round(slow))


def sentence(estimates: list[Estimate], chosen: str, pace: Pace) -> str:
    """The text of preflight's finding: the chosen method first, then the others."""
    by_method = {estimate.method: estimate for estimate in estimates}
    mine = by_method[chosen]
    others = "; ".join(estimate.describe() for estimate in estimates if estimate is not mine)
    fast = by_method["physical"]
    hint = ""
    if chosen != "physical" and fast.longest * MUCH_FASTER < mine.longest:
        hint = (
            " physical copies the whole server with its files, and needs the target's server for this migration alone: "
            "couch2pg_method: physical checks whether that is possible."
        )
    return f"{mine.describe()} up to the promotion ({pace.describe()}). The other methods: {others}.{hint} A rehearsal tells more."
