# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of pg_dump for each archive format."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Sequence

from ..common.errors import MigrationError
from ..host.programs import Program, ask
from ..postgres import locks
from ..postgres.connection import APPLICATION_NAME, ConnectionSettings
from ..postgres.relations import Table
from ..postgres.session import LOCK_SECONDS, Session
from . import layout

THROUGH_ROOT_SINCE = 11
FORMATS = ("directory", "custom", "tar")
ZSTD_SINCE = 16
LOCK_WAIT_MILLISECONDS = 10000


@dataclass(frozen=True)
class Command:
    """``arguments``, the file for standard output (None: pg_dump writes its files itself), a filter before that file."""

    arguments: list[str]
    output: Path | None = None
    through: list[str] | None = None


def build(
    program: Program,
    archive_format: str,
    folder: Path,
    snapshot: str,
    jobs: int,
    compression: str,
    conninfo: str,
    encoding: str,
    without_rows: Sequence[str] = (),
    excluded: Sequence[str] = (),
) -> Command:
    """The command that dumps the database of ``conninfo`` within ``snapshot`` into ``folder``.

    encoding: the database's own, so that no row has to be converted.
    without_rows: quoted names of tables whose rows are left out of the archive.
    excluded: options that leave out tables and extensions, and those of ``through_root``.
    compression: ``method:level`` (``gzip:1``, ``zstd:3``) or ``none``, as ``choose_compression`` returns it.
    """
    archive = folder / layout.DUMP_NAMES[archive_format]
    if not all(text.isascii() for text in (*without_rows, *excluded)):
        # pg_dump reads names in its options in the encoding of the archive, and these names are UTF-8.
        encoding = "UTF8"
    arguments = [
        program.path,
        f"--format={archive_format}",
        f"--snapshot={snapshot}",
        f"--dbname={conninfo}",
        f"--encoding={encoding}",
        # In milliseconds. pg_dump waits for ever without it, and its workers don't wait at all.
        f"--lock-wait-timeout={LOCK_SECONDS * 1000}",
        "--no-password",
        "--quote-all-identifiers",
        # A subscription's slot belongs to this server, and its connection string contains a password.
        "--no-subscriptions",
        "--verbose",
        # pg_dump reads this as a pattern. Inside double quotes, no character has a special meaning.
        *(f"--exclude-table-data={name}" for name in without_rows),
        *excluded,
    ]
    if archive_format == "tar":
        # pg_dump doesn't compress tar archives, so gzip does.
        return Command(arguments, archive, [_gzip(), f"-{_level(compression)}"])
    arguments += [f"--compress={_compress_option(program, compression)}", f"--file={archive}"]
    if archive_format == "directory":
        arguments.append(f"--jobs={jobs}")
    return Command(arguments)


def through_root(major: int, tables: Iterable[Table]) -> list[str]:
    """Options for tables whose rows may belong to another partition on the target: there, each row goes to its partition."""
    moving = any(table.tree for table in tables)
    return ["--load-via-partition-root"] if moving and major >= THROUGH_ROOT_SINCE else []


def schema_only(program: Program, archive: Path, conninfo: str, excluded: Sequence[str] = ()) -> list[str]:
    """pg_dump of the schema without rows into the custom archive ``archive``; it does not wait long for a lock.

    excluded: options that leave out tables and extensions.
    """
    return [
        program.path,
        "--schema-only",
        "--format=custom",
        f"--dbname={conninfo}",
        "--no-password",
        "--quote-all-identifiers",
        "--encoding=UTF8",
        "--no-subscriptions",
        f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}",
        f"--file={archive}",
        *excluded,
    ]


def kept_waiting(source: ConnectionSettings, errors: Sequence[str]) -> str:
    """Who holds a table that pg_dump could not lock, with the remedy; empty when its ``errors`` are about something else."""
    if not any(lock in error for lock in ("could not obtain lock", "LOCK TABLE") for error in errors):
        return ""
    with Session(source) as session:
        return locks.exclusive(session, APPLICATION_NAME) or errors[0]


def choose_compression(wanted: str, program: Program, archive_format: str) -> str:
    """Resolve ``auto`` (zstd if this pg_dump supports it, else fast gzip) and check other values.

    Raises MigrationError ``compression`` when this pg_dump or format doesn't support ``wanted``.
    """
    if wanted == "auto":
        return "zstd:1" if archive_format != "tar" and supports("zstd:1", program) else "gzip:1"
    if not re.fullmatch(r"none|(gzip|zstd|lz4):\d+", wanted):
        raise MigrationError(
            f"compression {wanted!r} is not valid. Use auto, none, gzip:1 to gzip:9, zstd:1 to zstd:19 or lz4:1.",
            "compression",
        )
    method = wanted.split(":", maxsplit=1)[0]
    if archive_format == "tar" and method != "gzip":
        raise MigrationError("A tar archive can only be compressed with gzip. Use gzip:1 to gzip:9.", "compression")
    if method in ("zstd", "lz4") and program.major < ZSTD_SINCE:
        raise MigrationError(
            f"{program.path} is version {program.major}, but pg_dump supports {method} since {ZSTD_SINCE}. Use gzip:1.",
            "compression",
        )
    if not supports(wanted, program):
        raise MigrationError(
            f"{program.path} was built without {method}. Set couch2pg_compression: auto, or gzip:1.", "compression"
        )
    return wanted


def supports(compression: str, program: Program) -> bool:
    """Whether this pg_dump was built with the method. It reports a missing one before it connects, so no server is needed."""
    if compression.startswith(("none", "gzip")):
        return True
    if program.major < ZSTD_SINCE:
        return False
    answer = ask(
        [program.path, f"--compress={compression}", "--format=custom", "--host=/nonexistent", "--file=/dev/null"]
    )
    return "compress" not in answer.stderr


def _compress_option(program: Program, compression: str) -> str:
    if compression == "none":
        return "0"
    # Before 16, the option was only the level of gzip.
    return compression if program.major >= ZSTD_SINCE else str(_level(compression))


def _level(compression: str) -> int:
    return int(compression.split(":")[1])


def _gzip() -> str:
    path = shutil.which("gzip")
    if path is None:
        raise MigrationError(
            "gzip was not found on this host's PATH. Install it, or use another format.", "program_missing"
        )
    return path
