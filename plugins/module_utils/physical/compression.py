# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compression of the base backup during its transfer: the methods of the source's server, and those that this host can unpack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Sequence

from ..common.errors import MigrationError
from ..host import programs
from ..postgres.session import Session

NONE = "none"
SINCE_MAJOR = 15
# Every server since SINCE_MAJOR has this method. The others depend on how the server was built.
_ALWAYS = "gzip"
# In pg_basebackup's notation: a method, with a level or with names and values.
_CHOICE = re.compile(r"server-(gzip|lz4|zstd)(:(-?\d+|[a-z]+(=\w+)?(,[a-z]+(=\w+)?)*))?")
_METHODS = "SELECT enumvals FROM pg_catalog.pg_settings WHERE name = 'wal_compression' AND vartype = 'enum'"


def of_server(session: Session) -> list[str]:
    """The methods with which the session's server can compress a backup; empty before PostgreSQL 15."""
    # A server uses the same libraries to compress WAL and backups, so the choices of wal_compression show what it can do.
    rows = session.rows(_METHODS)
    return [_ALWAYS, *(name for name in rows[0]["enumvals"] if name in ("lz4", "zstd"))] if rows else []


def check(choice: str, known: Sequence[str]) -> str:
    """Raise MigrationError ``backup_compression`` unless a server that knows these methods can do ``choice``; returns a description."""
    if choice == NONE:
        return "the files are sent without compression"
    found = _CHOICE.fullmatch(choice)
    offered = ", ".join([NONE, *(f"server-{name}" for name in known)])
    if found is None:
        raise MigrationError(
            f"couch2pg_physical_compression is {choice!r}. Only the source's server can compress a copy of its files: set it to one of "
            f"{offered}. A method may have a level, such as server-gzip:1.",
            "backup_compression",
            known=list(known),
        )
    if found[1] in known:
        return f"the source compresses with {found[1]} what it sends"
    why = (
        f"and the source's server was built without {found[1]}"
        if known
        else f"and the source's server is older than PostgreSQL {SINCE_MAJOR}, which is the first that compresses a backup"
    )
    raise MigrationError(
        f"couch2pg_physical_compression is {choice}, {why}. Set it to {offered.replace(', ', ' or ')}.",
        "backup_compression",
        known=list(known),
    )


def check_unpacking(choice: str, bin_dir: Path, folder: Path) -> None:
    """Raise MigrationError ``backup_compression`` where the programs in ``bin_dir`` can't unpack what the source sends.

    folder: any folder that this user can read.
    """
    method = (_CHOICE.fullmatch(choice) or ["", _ALWAYS])[1]
    server = bin_dir / "postgres"
    if method == _ALWAYS or not server.exists():
        return
    words = [
        "-C",
        "wal_compression",
        "-c",
        f"wal_compression={method}",
        "-c",
        "config_file=/dev/null",
        "-D",
        str(folder),
    ]
    if programs.ask([str(server), *words], inherit=True).code:
        raise MigrationError(
            f"couch2pg_physical_compression is {choice}, and the programs in {bin_dir} were built without {method}, so that they can't "
            f"unpack what the source sends. Set it to {NONE} or server-{_ALWAYS}.",
            "backup_compression",
        )
