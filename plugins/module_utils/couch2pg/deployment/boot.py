# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether couch2pg starts when its host boots, and how to prevent that."""

from __future__ import annotations

from typing import Sequence

from ...common.errors import MigrationError
from ...host.compose import docker, inspect
from ...host.programs import Answer
from . import compose, kinds, systemd
from .kinds import Deployment


def starts_itself(deployment: Deployment) -> bool:
    """Whether systemd or Docker starts couch2pg at boot. False for the operator's own commands: what runs them at boot is unknown."""
    if deployment.kind == kinds.SYSTEMD:
        # A unit that is enabled only in /run (enabled-runtime) is not enabled after the next boot.
        return systemd.enablement(deployment.unit) == "enabled"
    if deployment.kind == kinds.COMPOSE:
        container = compose.container_of(deployment)
        return bool(container) and _policy(container) not in ("", "no")
    return False


def prevent(deployment: Deployment) -> None:
    """Keep a couch2pg that ``starts_itself`` from starting at boot. Raises MigrationError ``service_failed``."""
    if deployment.kind == kinds.SYSTEMD:
        command = ["systemctl", "disable", systemd.service(deployment.unit)]
        answer = systemd.systemctl(*command[1:])
    else:
        # When Docker starts, it starts a container with the policy "always" even if it was stopped before.
        command = ["docker", "update", "--restart=no", compose.container_of(deployment)]
        answer = docker(*command[1:])
    if answer.code != 0 or starts_itself(deployment):
        raise _unchanged("couch2pg still starts when its host boots", command, answer)


def kept_from_it(deployment: Deployment) -> str:
    """The restart policy of the compose file when the container lost it through ``prevent``; else empty."""
    if deployment.kind != kinds.COMPOSE or not deployment.project_dir:
        return ""
    container = compose.container_of(deployment)
    config = compose.project(deployment).config()
    service = config["services"][compose.service_name(config, deployment)]
    wanted = str(service.get("restart") or "no")
    return wanted if container and _policy(container) in ("", "no") and wanted != "no" else ""


def as_configured(deployment: Deployment) -> None:
    """Give the container the restart policy of its compose file again, if ``prevent`` removed it.

    Raises MigrationError ``service_failed``.
    """
    wanted = kept_from_it(deployment)
    if not wanted:
        return
    command = ["docker", "update", f"--restart={wanted}", compose.container_of(deployment)]
    answer = docker(*command[1:])
    if answer.code != 0 or kept_from_it(deployment):
        raise _unchanged("couch2pg runs, but does not start when its host boots", command, answer)


def _unchanged(state: str, command: Sequence[str], answer: Answer) -> MigrationError:
    said = " ".join(answer.stderr.split()).rstrip(".") or f"it ended with code {answer.code}"
    return MigrationError(
        f"{state}: {' '.join(command)} did not change that ({said}). Remove the cause, and run again.", "service_failed"
    )


def _policy(container: str) -> str:
    return str((inspect(container)["HostConfig"].get("RestartPolicy") or {}).get("Name") or "")
