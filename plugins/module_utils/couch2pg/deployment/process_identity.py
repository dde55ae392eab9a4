# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity of couch2pg's process, which shows later whether it is still the same process."""

from __future__ import annotations

from typing import TypedDict

from ...host.compose import inspect
from . import compose, env_file, systemd
from .kinds import COMPOSE, ENV_FILE, SYSTEMD, Deployment


class ProcessIdentity(TypedDict):
    """The running process. A value that the deployment doesn't show is None.

    pid: its number on this host. restarts: automatic ones, by systemd or Docker. container: the id of its container.
    """

    kind: str
    running: bool
    pid: int | None
    started_at: str | None
    restarts: int | None
    container: str | None


def identity(deployment: Deployment) -> ProcessIdentity:
    """The identity of the running process. Equal identities mean the same process."""
    if deployment.kind == SYSTEMD:
        return _of_unit(deployment)
    if deployment.kind == COMPOSE:
        return _of_container(deployment)
    running = deployment.kind == ENV_FILE and env_file.is_running(deployment)
    return _identity(deployment, running)


def _of_unit(deployment: Deployment) -> ProcessIdentity:
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


def _of_container(deployment: Deployment) -> ProcessIdentity:
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


def _identity(
    deployment: Deployment,
    running: bool,
    pid: int | None = None,
    started_at: str | None = None,
    restarts: int | None = None,
    container: str | None = None,
) -> ProcessIdentity:
    return {
        "kind": deployment.kind,
        "running": running,
        "pid": pid,
        "started_at": started_at,
        "restarts": restarts,
        "container": container,
    }
