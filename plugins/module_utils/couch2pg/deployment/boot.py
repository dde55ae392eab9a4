# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether couch2pg starts by itself when its host boots, and keeping it from that."""

from __future__ import annotations

from ...common.errors import MigrationError
from ...host.compose import docker, inspect
from . import compose, kinds, systemd
from .kinds import Deployment


def starts_itself(deployment: Deployment) -> bool:
    """Whether systemd, or Docker when it starts, would start it. What an operator's own commands do isn't known: then no."""
    if deployment.kind == kinds.SYSTEMD:
        return systemd.enablement(deployment.unit) in ("enabled", "enabled-runtime")
    if deployment.kind == kinds.COMPOSE:
        container = compose.container_of(deployment)
        return bool(container) and _policy(container) not in ("", "no")
    return False


def prevent(deployment: Deployment) -> None:
    """See to it that it doesn't; call it only where it does. Raises MigrationError ``service_failed``."""
    if deployment.kind == kinds.SYSTEMD:
        answer = systemd.systemctl("disable", systemd.service(deployment.unit))
    else:
        # A container with the policy "always" comes back with Docker, stopped or not.
        answer = docker("update", "--restart=no", compose.container_of(deployment))
    if answer.code != 0 or starts_itself(deployment):
        raise MigrationError(
            f"couch2pg would still start by itself with its host: {answer.stderr.strip() or 'nobody says why'}. Disable it by hand.",
            "service_failed",
        )


def kept_from_it(deployment: Deployment) -> str:
    """The restart policy of the compose file, where it has one and the container was kept from it; else empty."""
    if deployment.kind != kinds.COMPOSE or not deployment.project_dir:
        return ""
    container = compose.container_of(deployment)
    config = compose.project(deployment).config()
    service = config["services"][compose.service_name(config, deployment)]
    wanted = str(service.get("restart") or "no")
    return wanted if container and _policy(container) in ("", "no") and wanted != "no" else ""


def as_configured(deployment: Deployment) -> None:
    """Give a container that was kept from it the restart policy of its compose file again."""
    wanted = kept_from_it(deployment)
    if wanted:
        docker("update", f"--restart={wanted}", compose.container_of(deployment))


def _policy(container: str) -> str:
    return str((inspect(container)["HostConfig"].get("RestartPolicy") or {}).get("Name") or "")
