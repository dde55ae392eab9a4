# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop couch2pg with systemd, Docker, or the operator's commands."""

from __future__ import annotations

import shlex

from ...common.errors import MigrationError
from ...common.redaction import Redactor
from ...host.compose import docker, inspect
from ...host.programs import Answer
from . import boot as deployment_boot
from . import compose, discovery, env_file, kinds, systemd
from .kinds import Deployment

STARTED, STOPPED = "started", "stopped"
STATES = (STARTED, STOPPED)


def is_running(deployment: Deployment) -> bool:
    """Whether couch2pg's process runs."""
    if deployment.kind == kinds.SYSTEMD:
        return systemd.show(deployment.unit).running
    if deployment.kind == kinds.COMPOSE:
        container = compose.container_of(deployment)
        return bool(container) and bool(inspect(container)["State"]["Running"])
    return deployment.kind == kinds.ENV_FILE and env_file.is_running(deployment)


def needed(deployment: Deployment, state: str) -> bool:
    """Whether ``bring`` has something to do. True also for a couch2pg with old settings, or one that doesn't start at boot."""
    if deployment.kind == kinds.ENV_FILE and not deployment.status_command:
        raise MigrationError(
            "couch2pg_app has no status_command, so that nothing shows whether couch2pg runs. Set it to a command that ends with 0 while "
            "couch2pg runs.",
            "commands_missing",
        )
    if state == STOPPED:
        return is_running(deployment)
    if deployment.kind == kinds.NONE:
        raise kinds.missing(deployment)
    return _start_needed(deployment) or _is_disabled(deployment) or bool(deployment_boot.kept_from_it(deployment))


def bring(deployment: Deployment, state: str) -> None:
    """Start or stop couch2pg; call it only when ``needed``. Raises MigrationError with the output of the command."""
    if deployment.kind == kinds.SYSTEMD:
        if state == STOPPED:
            _by_systemd(deployment, "stop")
        elif _start_needed(deployment):
            systemd.loaded_unit(deployment.unit)
            # Not "start": a process that runs already has old settings, and must be replaced.
            _by_systemd(deployment, "restart")
        if state == STARTED and _is_disabled(deployment):
            _by_systemd(deployment, "enable")
    elif deployment.kind == kinds.COMPOSE:
        _by_compose(deployment, state)
        if state == STARTED:
            _check_recreated(deployment)
            deployment_boot.as_configured(deployment)
    elif state == STARTED:
        env_file.command(deployment.start_command, "start_command")
    else:
        env_file.command(deployment.stop_command, "stop_command")
    if is_running(deployment) != (state == STARTED):
        raise MigrationError(
            f"couch2pg is not {state}, though the command succeeded. {_what_shows_why(deployment)}",
            "service_failed",
            state=state,
        )


def _start_needed(deployment: Deployment) -> bool:
    return not is_running(deployment) or bool(discovery.read(deployment).stale)


def _is_disabled(deployment: Deployment) -> bool:
    """Whether the systemd unit could be enabled, but is not, or only until the host boots."""
    return deployment.kind == kinds.SYSTEMD and systemd.enablement(deployment.unit) in ("disabled", "enabled-runtime")


def _by_systemd(deployment: Deployment, verb: str) -> None:
    unit = systemd.service(deployment.unit)
    if verb == "restart":
        # systemd refuses to start a unit that was restarted too often.
        systemd.systemctl("reset-failed", unit)
    answer = systemd.systemctl(verb, unit)
    if answer.code != 0:
        raise _failed(f"systemctl {verb} {unit}", answer, _what_shows_why(deployment))


def _by_compose(deployment: Deployment, state: str) -> None:
    if not deployment.project_dir:
        verb = "start" if state == STARTED else "stop"
        answer = docker(verb, deployment.container)
        if answer.code != 0:
            raise _failed(f"docker {verb} {deployment.container}", answer, _what_shows_why(deployment))
        return
    project = compose.project(deployment)
    name = compose.service_name(project.config(), deployment)
    # Compose recreates a container whose settings changed. Other services stay as they are.
    words = ("up", "--detach", "--no-deps", name) if state == STARTED else ("stop", name)
    answer = project.run(*words)
    if answer.code != 0:
        raise _failed(
            f"Compose's {words[0]} of {name}",
            answer,
            f"Run it yourself to see all that it says: {project.shown(*words)}",
        )


def _check_recreated(deployment: Deployment) -> None:
    """Raise MigrationError ``settings_not_taken`` for a container that Compose did not recreate though its settings changed."""
    stale = discovery.read(deployment).stale
    if stale:
        container = compose.container_of(deployment)[:12]
        raise MigrationError(
            f"The container {container} still has old values of {', '.join(stale)} after Compose started the service. Remove it (docker "
            f"rm --force {container}; its data is in PostgreSQL). If it doesn't belong to the service, correct container in "
            "couch2pg_app. Then run again.",
            "settings_not_taken",
            variables=list(stale),
        )


def _failed(what: str, answer: Answer, remedy: str) -> MigrationError:
    # systemctl's last line only says where to look.
    lines = [line for line in answer.stderr.splitlines() if line.strip() and not line.startswith("See ")]
    said = Redactor()(lines[-1]).rstrip(".") if lines else f"exit code {answer.code}"
    return MigrationError(f"{what} failed: {said}. {remedy}", "service_failed")


def _what_shows_why(deployment: Deployment) -> str:
    if deployment.kind == kinds.SYSTEMD:
        return f"{systemd.status_command(deployment.unit)} shows why."
    if deployment.kind == kinds.COMPOSE:
        container = deployment.container or compose.container_of(deployment)[:12]
        return f"docker logs --tail=50 {container} shows why." if container else "It has no container."
    return f"That is what status_command ({' '.join(map(shlex.quote, deployment.status_command))}) says; read its log."
