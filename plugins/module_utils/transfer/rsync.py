# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rsync for fetching an archive: its command line, its progress output, the meaning of its exit codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

from ..common.errors import MigrationError
from ..gate.key import SOURCE
from ..host import programs
from ..jobs import limits

# "    1,234,567  12%    1.23MB/s    0:00:10 (xfr#1, to-chk=3/5)"
_PROGRESS = re.compile(r"^\s*([\d,]+)\s+\d+%")
_RECEIVED = re.compile(r"^Total bytes received: ([\d,]+)")
_TALK = re.compile(r"^(Number of|Total |Literal data|Matched data|File list|sent |total size|receiving |\s*$|\./|.*/$)")
# The files that pg_dump only appends to. It writes its other files at its end, or again.
_APPENDED = ("--include=/archive/", "--include=/archive/[0-9]*.dat*", "--exclude=*")
REMEDY = "Install rsync (Debian: rsync), or set couch2pg_transfer_way to relay."


def command(
    configuration: Path, what: str, into: Path, silence: int, rate_limit: int, compress: bool, growing: bool = False
) -> list[str]:
    """The command that fetches the file ``what`` of the archive, or everything when it is empty.

    Incomplete files are resumed: rsync verifies the bytes that exist and sends only the rest.
    growing: the archive is still being written. Fetch only the bytes that were added to the files of tables, without checking the others.
    silence: seconds without data after which rsync gives up; rate_limit: bytes per second, 0 for no limit.
    """
    quoted = str(configuration).replace("'", "''")
    arguments = [
        programs.locate("rsync", REMEDY),
        "--recursive",
        "--times",
        "--perms",
        "--chmod=D0700,F0600",
        "--no-motd",
        "--outbuf=L",
        "--info=progress2,name1,stats2",
        f"--timeout={silence}",
        f"--rsh=ssh -F '{quoted}'",
    ]
    arguments += ["--append", *_APPENDED] if growing else ["--append-verify"]
    if compress:
        arguments.append("--compress")
    if rate_limit:
        # In units of 1024 bytes.
        arguments.append(f"--bwlimit={max(1, rate_limit // 1024)}")
    return [*arguments, f"{SOURCE}::archive/{what}", str(into) + ("/" if not what else "")]


def run(folder: Path, build: Callable[[int], list[str]], silence: int, listener: Listener) -> int | None:
    """Run rsync once, for the job in ``folder``; returns its exit code, or None when the job's rate limit changed.

    build: returns the command for a limit in bytes per second.
    """
    rate = limits.load(folder).rate_limit
    # rsync prints a line every second. When it hangs, its own timeout ends it before this one.
    output = programs.Output(build(rate), merged=True, silence=silence * 3 + 60)
    for chunk in output:
        listener.feed(chunk)
        if limits.load(folder).rate_limit != rate:
            return None
    return output.code


class Listener:
    """Parses the output of rsync: bytes, current file, error messages (``complaints``)."""

    def __init__(self) -> None:
        self._rest = ""
        self._before = 0
        self._now = 0
        self.file = ""
        self.received = 0
        self.complaints: list[str] = []

    @property
    def done(self) -> int:
        """Bytes of all attempts together."""
        return self._before + self._now

    @property
    def moving(self) -> bool:
        """Whether this attempt has transferred data."""
        return self._now > 0

    def start_again(self, before: int) -> None:
        """Prepare for another run of rsync; ``before``: bytes of the files that are complete."""
        self._before, self._now = before, 0
        self._rest = ""
        self.received = 0
        self.complaints = []

    def feed(self, chunk: bytes) -> None:
        """Parse the next chunk of output."""
        *lines, self._rest = re.split(r"[\r\n]", self._rest + chunk.decode("utf-8", errors="replace"))
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        progress = _PROGRESS.match(line)
        received = _RECEIVED.match(line)
        if progress:
            self._now = int(progress.group(1).replace(",", ""))
        elif received:
            self.received = int(received.group(1).replace(",", ""))
        elif re.match(r"^(rsync|ssh|@ERROR|cht\.couch2pg|client_loop|Connection|kex_|Timeout)", line) or ": " in line:
            if not _TALK.match(line):
                self.complaints.append(line.strip())
        elif not _TALK.match(line):
            self.file = line


def failure(code: int, complaints: list[str], free: int, into: Path) -> MigrationError:
    """The error for an exit code of rsync. Only ``interrupted`` is worth another attempt.

    free: free bytes on the file system of ``into``.
    """
    reason = "; ".join(complaints[:3]) or "it gave no reason"
    if any("No space left" in line or "Disk quota" in line for line in complaints):
        return MigrationError(
            f"The disk became full during the transfer: {free} bytes are free in {into}. Free disk space, then run again: "
            "the transfer resumes.",
            "disk_full",
            free=free,
        )
    if code < 0:
        return MigrationError(
            f"rsync was killed by signal {-code}. Run again: the transfer resumes.", "rsync_failed", exit_code=code
        )
    # 10, 12, 30, 35: the connection; 20: ended by a signal; 255: ssh itself.
    if code in (5, 10, 12, 20, 30, 35, 255):
        return MigrationError(
            f"The connection to the source was lost ({reason}). Run again: the transfer resumes.",
            "interrupted",
            exit_code=code,
            messages=complaints[:20],
        )
    return MigrationError(
        f"rsync ended with exit code {code}: {reason}. Fix the cause, then run again: the transfer resumes.",
        "rsync_failed",
        exit_code=code,
        messages=complaints[:20],
    )
