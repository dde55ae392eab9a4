# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg started and stopped, the way its deployment wants it."""

from __future__ import annotations

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
    """Whether its process is there."""
    if deployment.kind == kinds.SYSTEMD:
        return systemd.show(deployment.unit).running
    if deployment.kind == kinds.COMPOSE:
        container = compose.container_of(deployment)
        return bool(container) and bool(inspect(container)["State"]["Running"])
    return deployment.kind == kinds.ENV_FILE and env_file.is_running(deployment)


def needed(deployment: Deployment, state: str) -> bool:
    """Whether something must be done: also where it runs, but with old settings, or only until the host is booted again."""
    if deployment.kind == kinds.ENV_FILE and not deployment.status_command:
        raise MigrationError(
            "Nothing says whether couch2pg runs. Set status_command in couch2pg_app: a command that ends with 0 while it does.",
            "commands_missing",
        )
    if state == STOPPED:
        return is_running(deployment)
    if deployment.kind == kinds.NONE:
        raise kinds.missing()
    return _start_needed(deployment) or _is_disabled(deployment) or bool(deployment_boot.kept_from_it(deployment))


def bring(deployment: Deployment, state: str) -> None:
    """Start or stop it; call it only where that is ``needed``. Raises MigrationError with what was said."""
    if deployment.kind == kinds.SYSTEMD:
        if state == STOPPED:
            _by_systemd(deployment, "stop")
        elif _start_needed(deployment):
            # One that runs has old settings.
            _by_systemd(deployment, "restart")
        if state == STARTED and _is_disabled(deployment):
            _by_systemd(deployment, "enable")
    elif deployment.kind == kinds.COMPOSE:
        _by_compose(deployment, state)
        if state == STARTED:
            _see_that_it_was_made_anew(deployment)
            deployment_boot.as_configured(deployment)
    elif state == STARTED:
        env_file.command(deployment.start_command, "start_command")
    else:
        env_file.command(deployment.stop_command, "stop_command")
    if is_running(deployment) != (state == STARTED):
        raise MigrationError(f"couch2pg was to be {state}, and isn't. Look at its log.", "service_failed", state=state)


def _start_needed(deployment: Deployment) -> bool:
    return not is_running(deployment) or bool(discovery.read(deployment).stale)


def _is_disabled(deployment: Deployment) -> bool:
    """Whether systemd could start it when the host boots, but was not told to."""
    return deployment.kind == kinds.SYSTEMD and systemd.enablement(deployment.unit) == "disabled"


def _by_systemd(deployment: Deployment, verb: str) -> None:
    unit = systemd.service(deployment.unit)
    if verb == "restart":
        # After too many starts in a row systemd refuses one more.
        systemd.systemctl("reset-failed", unit)
    answer = systemd.systemctl(verb, unit)
    if answer.code != 0:
        raise _failed(f"systemctl {verb} {unit}", answer)


def _by_compose(deployment: Deployment, state: str) -> None:
    if not deployment.project_dir:
        verb = "start" if state == STARTED else "stop"
        answer = docker(verb, deployment.container)
        if answer.code != 0:
            raise _failed(f"docker {verb}", answer)
        return
    project = compose.project(deployment)
    name = compose.service_name(project.config(), deployment)
    # A container whose settings have changed is made anew; the services beside it stay as they are.
    words = ("up", "--detach", "--no-deps", name) if state == STARTED else ("stop", name)
    answer = project.run(*words)
    if answer.code != 0:
        raise _failed(f"Compose's {words[0]} of {name}", answer)


def _see_that_it_was_made_anew(deployment: Deployment) -> None:
    """Compose leaves a container that it thinks to be up to date, and one that isn't the service's own."""
    stale = discovery.read(deployment).stale
    if stale:
        container = compose.container_of(deployment)[:12]
        raise MigrationError(
            f"The container {container} still has old values of {', '.join(stale)} after Compose was told to start it. Remove it (docker "
            f"rm --force {container}; its data is in PostgreSQL), correct container in couch2pg_app if it isn't the service's own, and run "
            "again.",
            "settings_not_taken",
            variables=list(stale),
        )


def _failed(what: str, answer: Answer) -> MigrationError:
    said = Redactor()(answer.stderr.splitlines()[-1]).rstrip(".") if answer.stderr else f"exit code {answer.code}"
    return MigrationError(f"{what} failed: {said}. Run it by hand to see why.", "service_failed")
