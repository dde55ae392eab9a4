# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries that the server loads at its start, or that settings have every session load: a missing one would keep everybody out."""

from __future__ import annotations

from typing import Iterable

from ..common.errors import MigrationError
from .connection import ConnectionSettings
from .identifiers import literal
from .session import Session
from .session_settings import list_parts

_AT_START = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries'"
# The setting, and where the server looks for a library without a folder.
FOLDERS = {"session_preload_libraries": "", "local_preload_libraries": "$libdir/plugins/"}


def refusal(settings: ConnectionSettings, setting: str) -> str:
    """Why this server can't load what ``setting`` (``name=value``) names; empty when it can, and for other settings."""
    name, value = setting.split("=", 1)
    if name not in FOLDERS:
        return ""
    # What is loaded stays until the session ends, so the session ends here.
    with Session(settings) as session:
        for library in list_parts(value):
            path = library if "/" in library else FOLDERS[name] + library
            try:
                session.execute(f"LOAD {literal(path)}")
            except MigrationError as error:
                return error.message.split(": ", 1)[-1]
    return ""


def at_start(session: Session) -> list[str] | None:
    """What this server loads at its start, in that order; None where the session's role may not know."""
    rows = session.rows(_AT_START)
    return list_parts(rows[0]["setting"] or "") if rows else None


def add_at_start(loaded: Iterable[str], more: Iterable[str]) -> str:
    """The statement with which the server also loads ``more``: each library in quotes of its own, because a list in quotes is one name."""
    return f"ALTER SYSTEM SET shared_preload_libraries = {', '.join(map(literal, [*loaded, *more]))};"
