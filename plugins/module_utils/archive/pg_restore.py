# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lines of pg_restore: listing the archive, and restoring one section at a time."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

from ..common import restart
from ..common.errors import MigrationError
from ..host.programs import Program, ask, check_not_killed, run
from . import layout

SECTIONS = ("pre-data", "data", "post-data")
# Left out: materialized view data (phase refresh populates them in order), the database's own properties, subscriptions.
_LEFT_OUT = re.compile(
    r"^\d+; \d+ \d+ (MATERIALIZED VIEW DATA|COMMENT - DATABASE|DATABASE|DATABASE PROPERTIES|SUBSCRIPTION|"
    r"(COMMENT|SECURITY LABEL|ACL) - SUBSCRIPTION) "
)

_ENTRY = re.compile(r"^\d+; \d+ \d+ (.*)$")
_LARGE_OBJECTS = re.compile(r"^\d+; \d+ \d+ (BLOBS?|BLOB METADATA) ")


def unpacked(root: Path, archive_format: str, work: Path) -> Path:
    """The path of the archive for pg_restore; a compressed tar is decompressed into ``work`` first."""
    archive = root / layout.DUMP_NAMES[archive_format]
    if archive_format != "tar":
        return archive
    target = work / "archive.tar"
    gzip = shutil.which("gzip")
    if gzip is None:
        raise MigrationError("gzip was not found on this host's PATH. Install it, then run again.", "program_missing")
    errors: list[str] = []
    code = run([gzip, "--decompress", "--stdout", str(archive)], {"LC_ALL": "C"}, errors.append, output=target)
    if code:
        raise MigrationError(
            f"{archive} could not be decompressed into {work}: {errors[0] if errors else f'gzip ended with exit code {code}'}. "
            "Check the free space there, then run again.",
            "unpack_failed",
        )
    return target


def without_rows(root: Path, archive_format: str, work: Path) -> Path:
    """The path of an archive for pg_restore that has at least the schema.

    A compressed tar begins with its table of contents, which contains the schema. Only that part is unpacked, into ``work``.
    """
    archive = root / layout.DUMP_NAMES[archive_format]
    if archive_format != "tar":
        return archive
    target = work / "contents.tar"
    with tarfile.open(archive, "r|gz") as packed, tarfile.open(target, "w") as unpacked_tar:
        member = packed.next()
        if member is None or member.name != "toc.dat":
            raise MigrationError(
                f"{archive} doesn't begin with pg_dump's list of contents. Dump again: {restart.command('dump')}",
                "archive_unreadable",
            )
        unpacked_tar.addfile(member, packed.extractfile(member))
    return target


def read_list(program: Program, archive: Path) -> list[str]:
    """The lines of the archive's table of contents to restore. Raises MigrationError ``archive_unreadable`` or ``program_killed``."""
    answer = ask([program.path, "--list", str(archive)])
    check_not_killed(program.path, answer)
    if answer.code:
        raise MigrationError(
            f"{program.path} can't read {archive}: {answer.stderr}. Use a pg_restore at least as new as the pg_dump that wrote it.",
            "archive_unreadable",
        )
    return [line for line in answer.output.splitlines(keepends=True) if not _LEFT_OUT.match(line)]


def dumped_by(lines: list[str]) -> int:
    """The major version of the pg_dump that wrote the archive, from the head of the whole list; 0 where it doesn't say so."""
    found = re.search(r"^; +Dumped by pg_dump version: (\d+)", "".join(lines), re.MULTILINE)
    return int(found.group(1)) if found else 0


def write_list(lines: list[str], target: Path) -> None:
    """Write the list for ``--use-list`` into ``target``."""
    target.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")


def entry_of_rows(schema: str, name: str, owner: str) -> str:
    """The list's entry for the rows of a table: without quotes, line breaks replaced by spaces."""
    return re.sub(r"[\r\n]", " ", f"TABLE DATA {schema} {name} {owner}")


def without(lines: list[str], entries: set[str]) -> tuple[list[str], set[str]]:
    """The list without ``entries``, and the entries that occur never or more than once, whose lines are kept."""
    found: dict[str, list[str]] = {}
    for line in lines:
        entry = _ENTRY.match(line)
        if entry is not None and entry.group(1) in entries:
            found.setdefault(entry.group(1), []).append(line)
    unclear = {entry for entry in entries if len(found.get(entry, ())) != 1}
    left_out = {same[0] for entry, same in found.items() if entry not in unclear}
    return [line for line in lines if line not in left_out], unclear


def schemas(lines: list[str], names: set[str]) -> list[str]:
    """The lines that create the schemas ``names``."""
    return [line for line in lines if any(f" SCHEMA - {name} " in line for name in names)]


def has_large_objects(lines: list[str]) -> bool:
    """Whether the archive contains large objects, which can't be loaded a second time."""
    return any(_LARGE_OBJECTS.match(line) for line in lines)


def script_of_rows(program: Program, archive: Path, listing: Path) -> list[str]:
    """The command that writes the entries of ``listing`` to standard output, as a script of COPY and rows."""
    # Before 12, standard output is meant when no file is named.
    to = ["--file=-"] if program.major >= 12 else []
    return [program.path, "--section=data", f"--use-list={listing}", *to, "--verbose", str(archive)]


def build(program: Program, section: str, archive: Path, listing: Path, conninfo: str, jobs: int) -> list[str]:
    """The command that restores one section into the database of ``conninfo``. Only one worker can read a tar archive."""
    arguments = [
        program.path,
        f"--section={section}",
        f"--use-list={listing}",
        f"--dbname={conninfo}",
        "--no-password",
        "--verbose",
    ]
    if section != "pre-data" and archive.suffix != ".tar":
        arguments.append(f"--jobs={jobs}")
    return [*arguments, str(archive)]
