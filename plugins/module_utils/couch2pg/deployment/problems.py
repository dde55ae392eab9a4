# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is unusual about a deployed couch2pg, each with what to do."""

from __future__ import annotations

import re
import subprocess

from ...host.programs import ask
from ...postgres.login_probe import driver_version
from .kinds import Found

# With this major version of Node.js or later, a PostgreSQL driver before SOUND_DRIVER never answers, and couch2pg ends without a message.
SILENT_NODE = 14
SOUND_DRIVER = (8, 0, 3)


def problems(found: Found, app_dir: str) -> list[str]:
    """Problems of the settings, their files, the process, and its Node.js."""
    listed = [*found.settings.problems(), *found.problems]
    if found.stale:
        listed.append(
            f"The running couch2pg still has the old value of {', '.join(found.stale)}: it was not restarted, or its container not "
            "recreated, since the settings changed. The migration uses the written values."
        )
    silent = node_problem(found, app_dir)
    return [*listed, silent] if silent else listed


def node_problem(found: Found, app_dir: str) -> str:
    """Why couch2pg would do nothing with its Node.js, and the remedy; empty when it works, or when that is unknown."""
    version = node_version(found)
    driver = driver_version(app_dir) if app_dir else None
    if version and version[0] >= SILENT_NODE and (driver is None or driver < SOUND_DRIVER):
        return (
            f"couch2pg runs on Node.js {'.'.join(map(str, version))}. With Node.js {SILENT_NODE} or later and a PostgreSQL driver (pg) "
            "before 8.0.3, couch2pg ends at once with code 0 and does nothing. Use Node.js 12."
        )
    return ""


def node_version(found: Found) -> tuple[int, ...]:
    """The version of the Node.js; empty when unknown."""
    text = found.node_version
    if found.node:
        try:
            text = ask([found.node, "--version"]).output
        except (OSError, subprocess.TimeoutExpired):
            text = ""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    return tuple(int(part) for part in match.groups()) if match else ()
