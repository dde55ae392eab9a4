# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lines of pg_restore: the archive's list, and one run for each section."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, Mapping

from .errors import MigrationError
from .pg_dump import ARCHIVE_NAMES
from .programs import Program, ask, run

SECTIONS = ("pre-data", "data", "post-data")
# Populated by the phase refresh, which knows the order; and what belongs to the database itself.
_LEFT_OUT = re.compile(r"^\d+; \d+ \d+ (MATERIALIZED VIEW DATA|COMMENT - DATABASE|DATABASE|DATABASE PROPERTIES) ")


def unpacked(root: Path, archive_format: str, work: Path) -> Path:
    """The archive as pg_restore reads it; a compressed tar is unpacked into ``work`` first."""
    archive = root / ARCHIVE_NAMES[archive_format]
    if archive_format != "tar":
        return archive
    target = work / "archive.tar"
    gzip = shutil.which("gzip")
    if gzip is None:
        raise MigrationError("gzip was not found on this host's PATH. Install it, then run again.", "program_missing")
    said: list[str] = []
    code = run([gzip, "--decompress", "--stdout", str(archive)], {"LC_ALL": "C"}, said.append, output=target)
    if code:
        raise MigrationError(
            f"{archive} could not be unpacked into {work}: {said[0] if said else f'gzip ended with exit code {code}'}. "
            "Check the free space there, then run again.",
            "unpack_failed",
        )
    return target


def write_list(program: Program, archive: Path, target: Path) -> list[str]:
    """Write the list of what to restore into ``target``; returns the entries left out."""
    answer = ask([program.path, "--list", str(archive)])
    if answer.code:
        raise MigrationError(
            f"{program.path} can't read {archive}: {answer.said}. Use a pg_restore as new as the pg_dump that made it.",
            "archive_unreadable",
        )
    kept: list[str] = []
    left_out: list[str] = []
    for line in answer.output.splitlines(keepends=True):
        (left_out if _LEFT_OUT.match(line) else kept).append(line)
    target.write_text("".join(kept), encoding="utf-8", errors="surrogateescape")
    return [line.strip() for line in left_out]


def build(program: Program, section: str, archive: Path, listing: Path, database: str, jobs: int) -> list[str]:
    """pg_restore of one section into ``database``. A tar archive is read by one worker only."""
    arguments = [
        program.path,
        f"--section={section}",
        f"--use-list={listing}",
        # A connection string, so that a name such as "a=b" is not taken for one.
        f"--dbname=dbname='{_escaped(database)}'",
        "--no-password",
        "--verbose",
    ]
    if section != "pre-data" and archive.suffix != ".tar":
        arguments.append(f"--jobs={jobs}")
    return [*arguments, str(archive)]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def session_options(settings: Mapping[str, Any]) -> str:
    """PGOPTIONS that set ``settings`` for the sessions of pg_restore, and for nobody else."""
    return " ".join(f"-c {name}=" + re.sub(r"([\\ ])", r"\\\1", str(value)) for name, value in settings.items())
