# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two names in the inventory lead to the same deployment of couch2pg."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict

from ...host import file_systems
from ...host.compose import inspect
from . import discovery, systemd
from .kinds import COMPOSE, ENV_FILE, SYSTEMD, Deployment


class Identity(TypedDict):
    """A deployment, and the host that it is on; ``host`` is empty where that is unknown. ``deployment``: in words."""

    host: str
    deployment: str


def identify(deployment: Deployment) -> Identity:
    """The identity of a deployment of this host."""
    return {"host": _host(), "deployment": _words(deployment)}


def is_same(one: Identity, other: Identity) -> bool:
    """Whether both are the same deployment on the same host."""
    return bool(one["host"]) and one == other


def _host() -> str:
    """An identifier of this host until its next boot. Containers and changed roots count as hosts of their own."""
    kernel = file_systems.machine()
    try:
        root, processes = Path("/").stat(), os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return f"{kernel} {processes} {root.st_dev}:{root.st_ino}" if kernel else ""


def _words(deployment: Deployment) -> str:
    if deployment.kind == COMPOSE and not deployment.project_dir:
        deployment = discovery.of_labels(deployment, inspect(deployment.container))
    if deployment.kind == SYSTEMD:
        # The unit may be named by an alias.
        return f"the unit {systemd.show(deployment.unit).one('Id') or systemd.service(deployment.unit)}"
    if deployment.kind == ENV_FILE:
        return f"the file {os.path.realpath(deployment.env_file)}"
    if deployment.project_dir:
        return f"the service {deployment.service} of the Compose project in {os.path.realpath(deployment.project_dir)}"
    return f"the container {deployment.container}"
