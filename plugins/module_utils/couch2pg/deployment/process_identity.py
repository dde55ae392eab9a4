# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity of couch2pg's process, which shows later whether it is still the same process."""

from __future__ import annotations

from typing import Any

from ...host.compose import inspect
from . import compose, env_file, systemd
from .kinds import COMPOSE, ENV_FILE, SYSTEMD, Deployment


def identity(deployment: Deployment) -> dict[str, Any]:
    """The identity of the running process. Equal identities mean the same process."""
    if deployment.kind == SYSTEMD:
        return _of_unit(deployment)
    if deployment.kind == COMPOSE:
        return _of_container(deployment)
    running = deployment.kind == ENV_FILE and env_file.is_running(deployment)
    return _identity(deployment, running)


def _of_unit(deployment: Deployment) -> dict[str, Any]:
    unit = systemd.show(deployment.unit)
    restarts = unit.one("NRestarts")
    return _identity(
        deployment,
        unit.running,
        pid=unit.pid or None,
        started_at=unit.one("ExecMainStartTimestampMonotonic") if unit.pid else None,
        # systemd counts restarts since version 235.
        restarts=int(restarts) if restarts else None,
    )


def _of_container(deployment: Deployment) -> dict[str, Any]:
    container = compose.container_of(deployment)
    if not container:
        return _identity(deployment, False)
    inspected = inspect(container)
    state = inspected["State"]
    return _identity(
        deployment,
        bool(state["Running"]),
        pid=state["Pid"] or None,
        started_at=state["StartedAt"] if state["Running"] else None,
        restarts=inspected.get("RestartCount"),
        container=inspected["Id"],
    )


def _identity(deployment: Deployment, running: bool, **known: Any) -> dict[str, Any]:
    unknown = dict.fromkeys(("pid", "started_at", "restarts", "container"))
    return {"kind": deployment.kind, "running": running, **unknown, **known}
