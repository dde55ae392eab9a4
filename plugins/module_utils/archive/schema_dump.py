# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a pg_dump whose archive has the schema, and the rows of small tables at most."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from ..common.errors import MigrationError
from ..host import programs
from ..postgres.connection import ConnectionSettings
from ..postgres.program_environment import program_environment
from .pg_dump import Command, kept_waiting

_REASONS = ("error:", "FATAL", "detail:")
SHOWN_LINES = 20


def dump_schema(command: Command, source: ConnectionSettings, work: Path, log: Callable[[str], None]) -> None:
    """Run ``command``, with each of its messages in the ``log``. work: a private folder.

    Raises MigrationError ``locked`` with who holds the lock, and ``pg_dump_failed`` with pg_dump's reason.
    """
    passfile = work / "source-passfile"
    passfile.touch(mode=0o600)
    passfile.write_text(source.passfile_line(), encoding="utf-8")
    said: list[str] = []

    def listen(line: str) -> None:
        log(line)
        if any(word in line for word in _REASONS):
            said.append(line)

    try:
        code = programs.run(command.arguments, program_environment(source, passfile), listen)
    finally:
        passfile.unlink()
    who = kept_waiting(source, said) if code else ""
    if who:
        raise MigrationError(
            f"pg_dump of the schema could not lock a table: {who}", "locked", messages=said[:SHOWN_LINES]
        )
    if code:
        raise MigrationError(
            f"pg_dump of the schema ended with exit code {code}: {said[0] if said else 'it gave no reason'}. "
            "Fix the cause, then run again.",
            "pg_dump_failed",
            exit_code=code,
            messages=said[:SHOWN_LINES],
        )
