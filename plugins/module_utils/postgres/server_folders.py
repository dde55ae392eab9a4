# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the folders of a PostgreSQL server that runs on this host."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from ..host import containers
from ..host.containers import Container
from .connection import ConnectionSettings
from .session import Session

# Seconds between the start time in postmaster.pid and the one in SQL.
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
    """Folders of the server. When ``data`` is None, ``reason`` says why they can't be determined from this host."""

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
        return ServerFolders(reason=f"{session.settings.user!r} may not read the server's data_directory setting")
    container = containers.get(session.settings.container) if session.settings.container else None
    if container is None and not is_this_host(session.settings):
        return ServerFolders(
            reason=f"the server runs on another host, {session.settings.tunnel or session.settings.host}"
        )
    data = _on_host(container, directory)
    if data is None or not _is_its_data(session, data):
        return ServerFolders(reason=f"the server's data directory {directory} is not on this host")
    tablespaces = {row["name"]: _on_host(container, row["location"]) or data for row in session.rows(_TABLESPACES)}
    names = [name.strip().strip('"') for name in settings.get("temp_tablespaces", "").split(",") if name.strip()]
    return ServerFolders(
        data=data / "base",
        # Often a link to another disk; when it can't be resolved, the data directory is the best guess.
        wal=data / "pg_wal" if container else Path(os.path.realpath(data / "pg_wal")),
        temporary=tuple(tablespaces[name] for name in names if name in tablespaces) or (data / "base",),
        tablespaces=tablespaces,
    )


def _on_host(container: Container | None, path: str) -> Path | None:
    return Path(path) if container is None else container.on_host(path)


def is_this_host(settings: ConnectionSettings) -> bool:
    """Whether the address belongs to this host: only then can a socket be bound to it."""
    if settings.tunnel:
        return False
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
    """Whether the folder exists and belongs to this server; with a tunnel or container the server may be elsewhere."""
    try:
        data.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except PermissionError:
        # Only the server's own user may read the file; the path exists, which must suffice.
        return True
    except OSError:
        return False
    started = session.value("SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.int8")
    return len(lines) > 2 and lines[2].isdigit() and abs(int(lines[2]) - started) <= START_TOLERANCE
