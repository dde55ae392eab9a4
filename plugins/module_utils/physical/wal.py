# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL that the source writes after the base backup, up to the restore point."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Callable, Mapping

from ..common.errors import MigrationError
from ..host import programs
from ..host.files import remove_unfinished
from ..host.programs import Program
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session
from . import backup
from .folders import Owner

PARTIAL = ".partial"
_GONE = "has already been removed"


def prepare(folder: Path, owner: Owner, first: str) -> None:
    """Let pg_receivewal begin with the file ``first``: it resumes after the last file in its folder, and repeats one that is incomplete."""
    owner.folder(folder)
    begun = folder / f"{first}{PARTIAL}"
    remove_unfinished(begun)
    if not any(folder.iterdir()):
        owner.write(begun, "")
    _repeat_partial(folder)


def _repeat_partial(folder: Path) -> None:
    """Empty the incomplete file. pg_receivewal refuses a file of partial size, which it leaves when it is killed while creating one."""
    for path in folder.glob(f"*{PARTIAL}"):
        os.truncate(path, 0)


def file_of(session: Session, lsn: str) -> str:
    """The name of the WAL file with the byte before ``lsn``."""
    return str(session.value("SELECT pg_catalog.pg_walfile_name(%s::pg_lsn)", [lsn]))


def complete(folder: Path) -> None:
    """Rename the last, incomplete file, so that recovery finds it. pg_receivewal would then take it for complete and add nothing."""
    for path in folder.glob(f"*{PARTIAL}"):
        path.rename(path.with_suffix(""))


class Receiver:
    """pg_receivewal, from the end of the backup on; ``with`` ends it."""

    def __init__(
        self,
        program: Program,
        source: ConnectionSettings,
        folder: Path,
        owner: Owner,
        environment: Mapping[str, str],
        log: Callable[[str], None],
    ) -> None:
        words = [program.path, f"--directory={folder}", "--no-loop", "--no-password", "--verbose"]
        self._command = [*words, f"--dbname={source.conninfo()}"]
        self._source, self._folder, self._owner = source, folder, owner
        self._environment, self._log = environment, log
        self._stop = threading.Event()
        self._failure = ""
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        said = backup.Said(self._log)
        programs.run(self._owner.command(self._command, self._folder), self._environment, said, self._stop)
        if not self._stop.is_set():
            self._failure = said.reason()

    def finish(self, lsn: str) -> None:
        """Receive everything before ``lsn``, then end.

        Raises MigrationError ``wal_lost`` when the source has removed WAL, else ``wal_failed``.
        """
        self._stop.set()
        self._thread.join()
        _repeat_partial(self._folder)
        said = backup.Said(self._log)
        # pg_receivewal ends when it has received more than --endpos, so --endpos is one byte before ``lsn``.
        command = [*self._command, f"--endpos={_minus_one(lsn)}"]
        code = programs.run(self._owner.command(command, self._folder), self._environment, said)
        if code:
            if any(_GONE in line for line in said.lines):
                raise MigrationError(
                    f"The server at {self._source.place} has removed WAL that the copy needs: {said.reason()} Run again: the backup begins "
                    "again. Set wal_keep_size there (wal_keep_segments before 13) to keep more, for example to 16GB.",
                    "wal_lost",
                    messages=said.lines[-20:],
                )
            raise MigrationError(
                f"pg_receivewal from {self._source.place} ended with exit code {code}: {said.reason()} "
                f"{backup.advice(said.lines, self._source)}",
                "wal_failed",
                messages=said.lines[-20:],
            )


def _minus_one(lsn: str) -> str:
    high, low = (int(part, 16) for part in lsn.split("/"))
    number = (high << 32) + low - 1
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
