# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries that the server loads at its start, or that settings load into every session. If one is missing, nobody can log in."""

from __future__ import annotations

from typing import Iterable

from ..common.errors import MigrationError
from .connection import ConnectionSettings
from .identifiers import literal
from .session import Session
from .session_settings import list_parts

_AT_START = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries'"
# By setting: where the server looks for a library that is named without a folder.
FOLDERS = {"session_preload_libraries": "", "local_preload_libraries": "$libdir/plugins/"}


def refusal(settings: ConnectionSettings, setting: str) -> str:
    """Why this server can't load what ``setting`` (``name=value``) names; empty when it can, and for other settings."""
    name, value = setting.split("=", 1)
    if name not in FOLDERS:
        return ""
    # A library stays loaded until its session ends, so use a session of its own.
    with Session(settings) as session:
        for library in list_parts(value):
            path = library if "/" in library else FOLDERS[name] + library
            try:
                session.execute(f"LOAD {literal(path)}")
            except MigrationError as error:
                return error.message.split(": ", 1)[-1]
    return ""


def at_start(session: Session) -> list[str] | None:
    """The libraries that this server loads at its start, in that order; None when the session's role may not read the setting."""
    rows = session.rows(_AT_START)
    return list_parts(rows[0]["setting"] or "") if rows else None


def unknown(session: Session, wanted: Iterable[str]) -> str:
    """What the operator has to compare, where the role of this session on the target may not read what its server loads."""
    return (
        f"The source's server loads {', '.join(wanted)} at its start. Whether the target's does was not checked: "
        f"{session.settings.user!r} may not read shared_preload_libraries there. On the target, as a superuser: "
        f"{ask_and_add_at_start(wanted)} Then restart the target's server. Leave out what is loaded already."
    )


def ask_and_add_at_start(more: Iterable[str]) -> str:
    """The same as sentences, for a role that may not read what the server loads: a complete statement would drop that."""
    names = ", ".join(map(literal, more))
    return (
        f"SHOW shared_preload_libraries; Add {names} after the libraries that it names, each in quotes of its own: ALTER SYSTEM SET "
        f"shared_preload_libraries = ..., {names};"
    )


def add_at_start(loaded: Iterable[str], more: Iterable[str]) -> str:
    """The statement with which the server also loads ``more``. Each library has its own quotes: a quoted list would be one name."""
    return f"ALTER SYSTEM SET shared_preload_libraries = {', '.join(map(literal, [*loaded, *more]))};"
