# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base backup: every file of the source's server, with the WAL that was written meanwhile."""

from __future__ import annotations

import os
import re
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, Mapping, Sequence

from ..common.errors import MigrationError
from ..host import programs
from ..host.files import remove_tree
from ..host.programs import Program
from ..postgres.connection import APPLICATION_NAME, ConnectionSettings
from ..postgres.identifiers import quote
from ..postgres.monitor_session import MonitorSession
from ..postgres.program_environment import program_environment
from ..postgres.session import Session
from .folders import Owner
from .other_method import OR_STREAM

PROGRESS_SINCE = 130000
MANIFEST = "backup_manifest"
# pg_verifybackup's exit code for a problem that it found. Any other code but 0 means that it was killed.
DAMAGED = 1
_END = re.compile(r"write-ahead log end point: ([0-9A-F]+/[0-9A-F]+)")
_WORTH_SHOWING = ("error:", "ERROR:", "FATAL:", "detail:", "hint:")
_PROGRESS = """
SELECT p.backup_streamed AS done, p.backup_total AS total FROM pg_catalog.pg_stat_progress_basebackup AS p
JOIN pg_catalog.pg_stat_activity AS a USING (pid) WHERE a.application_name = %s
"""
_FREE_SLOT = """
SELECT pg_catalog.current_setting('max_replication_slots')::int > (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots)
"""


class Said:
    """The lines of a program. Each goes to the job's log, and is kept for ``reason``."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self._log(line)
        self.lines.append(line)

    def reason(self) -> str:
        """The first error, or what the program said last."""
        errors = [line for line in self.lines if any(word in line for word in _WORTH_SHOWING)]
        return " ".join(errors[:3] or self.lines[-1:]) or "it gave no reason"


class BackupProgress(MonitorSession):
    """Bytes that the backup has sent. A source before PostgreSQL 13 doesn't report them, so the files that arrived are counted."""

    def __init__(self, settings: ConnectionSettings, folder: Path) -> None:
        super().__init__(settings)
        self._folder = folder
        self._done = 0

    def __call__(self) -> tuple[int, str]:
        """The bytes so far, and an empty text, because the backup doesn't work on one object at a time."""
        return self.done(), ""

    def done(self) -> int:
        """The bytes so far."""
        found = self.query(self._ask)
        self._done = max(self._done, found if found is not None else _size(self._folder))
        return self._done

    def _ask(self, session: Session) -> int | None:
        if session.version < PROGRESS_SINCE:
            return None
        rows = session.rows(_PROGRESS, [APPLICATION_NAME])
        return max((int(row["done"]) for row in rows), default=0)


def _size(folder: Path) -> int:
    total = 0
    for where, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(where) / name).stat().st_size
            except OSError:
                # A file that was renamed meanwhile.
                continue
    return total


def expected_bytes(session: Session) -> int:
    """About how many bytes a backup of the whole server has."""
    return int(
        session.value("SELECT pg_catalog.sum(pg_catalog.pg_database_size(oid)) FROM pg_catalog.pg_database") or 0
    )


def take(
    program: Program,
    source: ConnectionSettings,
    folder: Path,
    owner: Owner,
    environment: Mapping[str, str],
    log: Callable[[str], None],
    compression: str = "none",
) -> str:
    """Make a base backup in ``folder``; returns the LSN at which it ends.

    environment: of ``replication_environment``. compression: during the transfer, ``none`` or a method that the source's server has
    (``server-zstd``). Raises MigrationError ``backup_failed``.
    """
    remove_tree(folder)
    owner.folder(folder)
    with Session(source) as session:
        slot = [] if session.value(_FREE_SLOT) else ["--no-slot"]
    command = [
        program.path,
        f"--pgdata={folder}",
        "--format=plain",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--no-password",
        "--verbose",
        "--label=cht.couch2pg",
        f"--dbname={source.conninfo()}",
        *slot,
        *([] if compression == "none" else [f"--compress={compression}"]),
    ]
    said = Said(log)
    code = programs.run(owner.command(command, folder), environment, said)
    end = next((found[1] for found in map(_END.search, said.lines) if found), "")
    if code or not end:
        raise MigrationError(
            f"pg_basebackup of {source.place} ended with exit code {code}: {said.reason()} {advice(said.lines, source)}",
            "backup_failed",
            exit_code=code,
            messages=said.lines[-20:],
        )
    return end


def advice(lines: Sequence[str], source: ConnectionSettings) -> str:
    """The remedy for the failure that ``lines`` of pg_basebackup or pg_receivewal report."""
    text = "\n".join(lines)
    if "no pg_hba.conf entry for replication" in text:
        address = next(
            iter(re.findall(r'for replication connection from host "([^"]+)"', text)), "<address of the target>"
        )
        size = "128" if ":" in address else "32"
        return (
            f"Add this line to the source's pg_hba.conf, and reload it (SELECT pg_reload_conf()), then run again: "
            f"host replication {source.user} {address}/{size} scram-sha-256. {OR_STREAM}"
        )
    if "replication role" in text or "permission denied to start WAL sender" in text:
        return f"On the source: ALTER ROLE {quote(source.user)} REPLICATION; then run again."
    if "max_wal_senders" in text:
        return f"Increase max_wal_senders on the source by at least 3, and restart its server. {OR_STREAM}"
    if "compression" in text:
        return "Correct couch2pg_physical_compression, or set it to none; then run again."
    return "Fix the cause, then run again: the backup begins again."


@contextmanager
def replication_environment(source: ConnectionSettings, owner: Owner, folder: Path) -> Iterator[dict[str, str]]:
    """The environment of programs that connect to the source as the owner; its passfile is removed at the end."""
    passfile = folder / "passfile"
    owner.write(passfile, source.passfile_line())
    try:
        # The programs look for files in the home folder, and the owner of a data directory may have none.
        yield dict(program_environment(source, passfile), HOME=str(folder))
    finally:
        passfile.unlink()


def verify(
    program: Program, folder: Path, owner: Owner, log: Callable[[str], None], stop: threading.Event | None = None
) -> None:
    """Compare every file with the checksum that the source's server computed when it sent it; ``stop`` ends that early.

    WAL has checksums of its own, which recovery checks. Raises MigrationError ``backup_damaged``, ``stopped`` or ``check_killed``.
    """
    said = Said(log)
    command = [program.path, "--no-parse-wal", "--quiet", str(folder)]
    code = programs.run(owner.command(command, folder), programs.environment(), said, stop)
    if stop is not None and stop.is_set():
        raise MigrationError("The check of the base backup was stopped.", "stopped")
    if code not in (0, DAMAGED):
        raise MigrationError(
            f"The check of the base backup in {folder} did not end: pg_verifybackup was killed (exit code {code}), by somebody or because "
            "memory ran out (see journalctl -k). Run again: the backup is kept, and the check and the digests of the source begin again.",
            "check_killed",
        )
    if code:
        raise MigrationError(
            f"The base backup in {folder} is damaged: pg_verifybackup says {said.reason()}. Check the disk (dmesg), then run again: the "
            "backup begins again.",
            "backup_damaged",
            messages=said.lines[-20:],
        )
