# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the programs that make the copy: clients, and the servers of the source's and the target's major version."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Sequence

from ..common.errors import MigrationError
from ..host import container_programs, programs
from ..host.programs import Program
from .other_method import OR_STREAM

BACKUP, RECEIVE, VERIFY = "pg_basebackup", "pg_receivewal", "pg_verifybackup"
# The programs that pg_upgrade needs in the folders of the old and of the new version.
UPGRADE_FROM = ("pg_ctl", "pg_controldata", "pg_resetwal")
UPGRADE_TO = (*UPGRADE_FROM, "initdb", "pg_upgrade", "pg_dump", "pg_dumpall", "pg_restore", "psql", "vacuumdb")

# Where Debian's and PostgreSQL's own packages put a major version.
_FOLDERS = ("/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin", "/usr/lib64/pgsql/postgresql-{}/bin")


def of_process(process: int) -> Path | None:
    """The folder of the program that the process runs; None when this user can't read it."""
    try:
        return Path(f"/proc/{process}/exe").resolve(strict=True).parent
    except OSError:
        return None


def of_data_directory(data: Path) -> Path | None:
    """The folder of the programs of the server that runs on the data directory."""
    try:
        return of_process(int((data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0]))
    except (OSError, ValueError):
        return None


def server_folder(major: int, given: str, others: list[Path | None]) -> Path:
    """The folder of the server programs of ``major``: the one that is ``given``, else the first that has them.

    Raises MigrationError ``program_missing`` with the package to install.
    """
    known = [Path(pattern.format(major)) for pattern in _FOLDERS]
    candidates = [Path(given)] if given else [folder for folder in (*others, *known) if folder is not None]
    for folder in candidates:
        if _major(folder) == major:
            return folder
    where = f"in {given} (couch2pg_physical_bin_dir)" if given else "on this host"
    raise MigrationError(
        f"The server programs of PostgreSQL {major}, the source's major version, are not {where}. Install them beside those that are "
        f"there: {_packages(major, 'postgresql-upgrade, which has the major version before its own')}. Or set couch2pg_physical_bin_dir "
        f"to their folder. {OR_STREAM}",
        "program_missing",
        major=major,
    )


def check_complete(folder: Path, names: Sequence[str], major: int) -> None:
    """Raise MigrationError ``program_missing`` where one of the programs is not beside the server's of this major version."""
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise MigrationError(
            f"{folder} has the server of PostgreSQL {major}, and not {', '.join(missing)}. Install the rest of its programs: "
            f"{_packages(major, 'postgresql and postgresql-server')}. {OR_STREAM}",
            "program_missing",
            programs=missing,
        )


def client(name: str, source_bin: str, given: str, target_bin: str, major: int) -> Program:
    """A client program: with the source's own major version if it is there, else the one in ``given``, or on PATH.

    given: couch2pg_bin_dir; an image is ignored, because the program must run as the owner of the copy. major: the source's.
    Raises MigrationError ``program_missing``.
    """
    folders = [folder for folder in (source_bin, given, target_bin) if folder and not container_programs.is_one(folder)]
    folder = next((folder for folder in folders if (Path(folder) / name).exists()), "")
    try:
        return programs.find(name, folder)
    except MigrationError as error:
        raise MigrationError(
            f"{name} is neither in {' nor in '.join(dict.fromkeys(folders))} nor on this host's PATH. Install it: "
            f"{_packages(major, 'postgresql-server')}. {OR_STREAM}",
            "program_missing",
            programs=[name],
        ) from error


def _packages(major: int, red_hat: str) -> str:
    """The packages with all programs of a major version; red_hat: of Red Hat's own, which have one version."""
    return (
        f"postgresql-{major} (Debian and Ubuntu), postgresql{major}-server (PostgreSQL's own packages for Red Hat) or {red_hat} (Red "
        "Hat's own)"
    )


def _major(folder: Path) -> int | None:
    try:
        answer = programs.ask([str(folder / "postgres"), "--version"], inherit=True)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.output)
    return int(version.group(1)) if version else None
