# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's own processes (backends) as processes of this host, on the host itself or in a container."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Iterable

from ..common.errors import MigrationError
from ..host import containers, processes
from .connection import ConnectionSettings
from .server_folders import is_this_host
from .session import Session


def may_be_here(settings: ConnectionSettings) -> bool:
    """Whether the server may run on this host: its address is one of this host's, or it is in a container here."""
    return bool(settings.container) or is_this_host(settings)


def on_this_host(settings: ConnectionSettings, backends: Iterable[int]) -> list[int]:
    """The pids on this host of the server's processes ``backends``. Processes that are not found on this host are left out."""
    if settings.container:
        outside: dict[int, int] = {}
        with suppress(MigrationError):
            outside = processes.in_container_of(containers.get(settings.container).process)
        found = [outside[pid] for pid in backends if pid in outside]
    else:
        found = list(backends) if may_be_here(settings) else []
    return [pid for pid in found if processes.name(pid).startswith("postgres")]


def out_of_reach(session: Session) -> str:
    """Why this user can't set the priority of the server's processes; empty when it can."""
    found = on_this_host(session.settings, [session.value("SELECT pg_catalog.pg_backend_pid()")])
    if not found:
        return f"the server's processes at {session.settings.place} are not found on this host"
    try:
        owner = Path(f"/proc/{found[0]}").stat().st_uid
    except OSError:
        return ""
    if os.geteuid() in (0, owner):
        return ""
    return "the server's processes belong to another user, and couch2pg_become_user is not root"
