# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries that a database's settings have every session load: a missing one would keep everybody out."""

from __future__ import annotations

from ..common.errors import MigrationError
from .connection import ConnectionSettings
from .identifiers import literal
from .session import Session

# The setting, and where the server looks for a library without a folder.
FOLDERS = {"session_preload_libraries": "", "local_preload_libraries": "$libdir/plugins/"}


def refusal(settings: ConnectionSettings, setting: str) -> str:
    """Why this server can't load what ``setting`` (``name=value``) names; empty when it can, and for other settings."""
    name, value = setting.split("=", 1)
    if name not in FOLDERS:
        return ""
    # What is loaded stays until the session ends, so the session ends here.
    with Session(settings) as session:
        for library in (part.strip().strip('"') for part in value.split(",")):
            path = library if "/" in library else FOLDERS[name] + library
            try:
                session.execute(f"LOAD {literal(path)}" if library else "SELECT 1")
            except MigrationError as error:
                return error.message.split(": ", 1)[-1]
    return ""
