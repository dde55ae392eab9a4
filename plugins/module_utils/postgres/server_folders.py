# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a PostgreSQL server keeps its files, as far as this host can see them."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from .connection import ConnectionSettings, Session

# Between the moment that postmaster.pid bears and the one that SQL tells.
START_TOLERANCE = 10

_SETTINGS = """
SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('data_directory', 'temp_tablespaces')
"""
_TABLESPACES = """
SELECT spcname AS name, pg_catalog.pg_tablespace_location(oid) AS location FROM pg_catalog.pg_tablespace
WHERE pg_catalog.pg_tablespace_location(oid) <> ''
"""


@dataclass(frozen=True)
class ServerFolders:
    """Folders of the server. When ``data`` is None, ``reason`` tells why they can't be seen from here."""

    data: Path | None = None
    wal: Path | None = None
    temporary: tuple[Path, ...] = ()
    tablespaces: dict[str, Path] = field(default_factory=dict)
    reason: str = ""


def find(session: Session) -> ServerFolders:
    """The folders of the server that ``session`` is connected to."""
    settings = {row["name"]: row["setting"] for row in session.rows(_SETTINGS)}
    directory = settings.get("data_directory")
    if not directory:
        # Hidden from all but superusers and members of pg_read_all_settings.
        return ServerFolders(reason=f"{session.settings.user!r} may not ask the server where its data are")
    if not _is_this_host(session.settings):
        return ServerFolders(reason=f"the server runs on another host, {session.settings.host}")
    data = Path(directory)
    if not _is_its_data(session, data):
        return ServerFolders(reason=f"the server's data directory {directory} is not on this host")
    tablespaces = {row["name"]: Path(row["location"]) for row in session.rows(_TABLESPACES)}
    names = [name.strip().strip('"') for name in settings.get("temp_tablespaces", "").split(",") if name.strip()]
    return ServerFolders(
        data=data / "base",
        # Often a link to another disk; where it can't be looked at, the data directory itself is the best guess.
        wal=Path(os.path.realpath(data / "pg_wal")),
        temporary=tuple(tablespaces[name] for name in names if name in tablespaces) or (data / "base",),
        tablespaces=tablespaces,
    )


def _is_this_host(settings: ConnectionSettings) -> bool:
    """Whether the address is one of this host's own: only those can be bound to."""
    if not settings.host or settings.host.startswith("/"):
        return True
    try:
        found = socket.getaddrinfo(settings.host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_can_bind(family, address) for family, _type, _protocol, _name, address in found)


def _can_bind(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address[0], 0, *address[2:]))
    except OSError:
        return False
    return True


def _is_its_data(session: Session, data: Path) -> bool:
    """Whether the folder is there, and belongs to this very server (a tunnel or a container may lead elsewhere)."""
    try:
        data.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except PermissionError:
        # Only the server's own user may look; the path is right, which must do.
        return True
    except OSError:
        return False
    started = session.value("SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.int8")
    return len(lines) > 2 and lines[2].isdigit() and abs(int(lines[2]) - started) <= START_TOLERANCE
