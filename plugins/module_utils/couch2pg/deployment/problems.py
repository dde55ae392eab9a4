# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is odd about a couch2pg as it is deployed, each with what to do."""

from __future__ import annotations

import re
import subprocess

from ...host.programs import ask
from ...postgres.login_probe import driver_version
from .kinds import Found

# From this Node.js on, a PostgreSQL driver before this version never answers, and couch2pg ends without a word.
SILENT_NODE = 14
SOUND_DRIVER = (8, 0, 3)


def problems(found: Found, app_dir: str) -> list[str]:
    """Of the settings, the files that they stand in, the process, and the Node.js that it runs on."""
    listed = [*found.settings.problems(), *found.problems]
    if found.stale:
        listed.append(
            f"The couch2pg that runs still has the old value of {', '.join(found.stale)}: it was not restarted, or its container not "
            "recreated, since the settings changed. What is written counts here."
        )
    silent = node_problem(found, app_dir)
    return [*listed, silent] if silent else listed


def node_problem(found: Found, app_dir: str) -> str:
    """Why couch2pg would do nothing on its Node.js, with the remedy; empty when it wouldn't, or when that can't be known."""
    version = node_version(found)
    driver = driver_version(app_dir) if app_dir else None
    if version and version[0] >= SILENT_NODE and (driver is None or driver < SOUND_DRIVER):
        return (
            f"couch2pg runs on Node.js {'.'.join(map(str, version))}: on {SILENT_NODE} and later it ends with code 0, having done "
            "nothing, unless its PostgreSQL driver (pg) is 8.0.3 or later. Give it Node.js 12."
        )
    return ""


def node_version(found: Found) -> tuple[int, ...]:
    """The version of its Node.js; empty when it can't be known."""
    text = found.node_version
    if found.node:
        try:
            text = ask([found.node, "--version"]).output
        except (OSError, subprocess.TimeoutExpired):
            text = ""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    return tuple(int(part) for part in match.groups()) if match else ()
