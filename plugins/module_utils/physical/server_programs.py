# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which programs make the copy: clients, and the servers of the source's and the target's major version."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ..common.errors import MigrationError
from ..host import programs

# Where Debian's and PostgreSQL's own packages put a major version.
_FOLDERS = ("/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin", "/usr/lib64/pgsql/postgresql-{}/bin")


def of_process(process: int) -> Path | None:
    """The folder of the program that the process runs; None when this user may not know."""
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
        f"there: postgresql-{major} (Debian and Ubuntu) or postgresql{major}-server (Red Hat); or set couch2pg_physical_bin_dir to their "
        "folder; or use couch2pg_method: stream.",
        "program_missing",
        major=major,
    )


def client_folder(name: str, source_bin: str, given: str, target_bin: str) -> str:
    """The folder of a client program: with the source's own major version if it is there, else the one that is ``given``, or none."""
    return next(
        (folder for folder in (source_bin, given, target_bin) if folder and (Path(folder) / name).exists()), given
    )


def _major(folder: Path) -> int | None:
    try:
        answer = programs.ask([str(folder / "postgres"), "--version"], inherit=True)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.output)
    return int(version.group(1)) if version else None
