# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""couch2pg as a service of a Compose project: its environment as Compose resolves it, and as its container has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from ...common.errors import MigrationError
from ...host import kept_file
from ...host.compose import Compose, image_variables, inspect, variables_of
from ..settings import ENTRYPOINT, Settings, is_its_own, style_of, unwanted
from . import compose_variables
from .kinds import Deployment, Found, Plan


def project(deployment: Deployment) -> Compose:
    """Its Compose project. Raises MigrationError ``deployment`` where only a container is known."""
    if not deployment.project_dir:
        raise MigrationError(
            f"Of the container {deployment.container} only is known that it is there, not where it comes from. Set project_dir in "
            "couch2pg_app to the folder of its compose file.",
            "deployment",
        )
    return Compose(Path(deployment.project_dir), deployment.compose_files, deployment.env_files)


def read(deployment: Deployment) -> Found:
    """What Compose resolves; without a project, what the container was started with."""
    if not deployment.project_dir:
        return _of_container(inspect(deployment.container))
    compose = project(deployment)
    config = compose.config()
    name = service_name(config, deployment)
    container = deployment.container or _own_container(compose, name)
    inspected = inspect(container) if container else {}
    variables = compose_variables.environment(config, name)
    has = variables_of(inspected)
    running = bool(inspected and inspected["State"]["Running"])
    problem = kept_file.open_to_all(compose.env_file)
    return Found(
        Settings(variables, style_of(variables, ENTRYPOINT)),
        running,
        node_version=has.get("NODE_VERSION", ""),
        image=str(config["services"][name].get("image") or ""),
        service=name,
        stale=tuple(sorted(key for key, value in variables.items() if has.get(key) != value)) if running else (),
        problems=(problem,) if problem else (),
    )


def container_of(deployment: Deployment) -> str:
    """The container that is named, or the service's own; empty when there is none yet."""
    if deployment.container or not deployment.project_dir:
        return deployment.container
    compose = project(deployment)
    return _own_container(compose, service_name(compose.config(), deployment))


def _own_container(compose: Compose, name: str) -> str:
    found = compose.containers(name)
    if len(found) > 1:
        raise MigrationError(
            f"The service {name} in {compose.folder} has {len(found)} containers; couch2pg must run once. Remove the others, or "
            "set container in couch2pg_app.",
            "ambiguous",
            containers=found,
        )
    return found[0] if found else ""


def service_name(config: Mapping[str, Any], deployment: Deployment) -> str:
    """The service that is named, or the only one whose image is couch2pg's. Raises MigrationError ``deployment_missing``."""
    services = config.get("services") or {}
    if deployment.service in services:
        return deployment.service
    alike = [name for name, service in services.items() if "couch2pg" in str(service.get("image") or "")]
    if len(alike) == 1:
        return str(alike[0])
    raise MigrationError(
        f"The Compose project in {deployment.project_dir} has no service {deployment.service}; it has {', '.join(sorted(services))}. "
        "Correct service in couch2pg_app.",
        "deployment_missing",
    )


def plan(deployment: Deployment, settings: Settings) -> Plan:
    """The project's ``.env`` with which Compose gives the service exactly these settings.

    Raises MigrationError ``compose_hard_coded`` where the compose file doesn't let it.
    """
    compose = project(deployment)
    config = compose.config()
    name = service_name(config, deployment)
    have = compose_variables.environment(config, name)
    wanted = {key: value for key, value in settings.variables.items() if have.get(key) != value}
    # Empty is as good as unset, for couch2pg.
    wanted = {key: value for key, value in wanted.items() if value or have.get(key)}
    wanted.update({key: "" for key in unwanted(have, settings.variables) if have[key]})
    before = kept_file.read(compose.env_file)
    if not wanted:
        return Plan(settings)
    names = compose_variables.sources(compose, name, before or "")
    problems = []
    fixed = []
    for key in sorted(key for key in wanted if key not in names):
        wanted.pop(key)
        if key in settings.variables and is_its_own(key):
            fixed.append(key)
        elif key in settings.variables:
            problems.append(
                f"{key} is set on the source and has no place in the compose file in {compose.folder}: the service {name} won't have "
                f"it. Add {key}: ${{{key}}} to its environment if couch2pg needs it."
            )
        else:
            problems.append(_unset_problem(key, compose.folder, name))
    if fixed:
        raise _hard_coded(compose, name, fixed)
    after, resolved = compose_variables.written(
        compose, name, before or "", {names[key]: key for key in wanted}, wanted
    )
    left = compose_variables.environment(resolved, name)
    # Two of couch2pg's variables may hang on one of .env's.
    mixed = sorted(key for key, value in settings.variables.items() if is_its_own(key) and left.get(key, "") != value)
    if mixed:
        raise _hard_coded(compose, name, mixed)
    problems += [
        _unset_problem(key, compose.folder, name) for key in wanted if key not in settings.variables and left.get(key)
    ]
    problems += compose_variables.side_effects(config, resolved, name)
    return Plan(settings, (kept_file.Change(compose.env_file, before, after),), tuple(problems))


def verify(deployment: Deployment, settings: Settings, planned: Plan) -> None:
    """Ask Compose what it makes of the written file. Raises MigrationError ``settings_not_taken``."""
    if not planned.needed:
        return
    config = project(deployment).config()
    have = compose_variables.environment(config, service_name(config, deployment))
    wrong = sorted(key for key, value in settings.variables.items() if is_its_own(key) and have.get(key, "") != value)
    if wrong:
        raise MigrationError(
            f"Compose doesn't take {', '.join(wrong)} from {planned.needed[0].path}. See what sets it instead: docker compose config.",
            "settings_not_taken",
            variables=wrong,
        )


def _hard_coded(compose: Compose, service: str, names: list[str]) -> MigrationError:
    return MigrationError(
        f"The compose file in {compose.folder} doesn't let couch2pg have {', '.join(names)}: for service {service} it has a fixed "
        "value, or one put together of others, or none. Write there "
        + ", ".join(f"{key}: ${{{key}}}" for key in names)
        + ", and run again.",
        "compose_hard_coded",
        variables=names,
    )


def _of_container(inspected: Mapping[str, Any]) -> Found:
    variables = variables_of(inspected)
    brought = image_variables(str(inspected["Image"]))
    own = {key: value for key, value in variables.items() if brought.get(key) != value}
    return Found(
        Settings(own, style_of(own, ENTRYPOINT)),
        bool(inspected["State"]["Running"]),
        node_version=variables.get("NODE_VERSION", ""),
        image=str(inspected["Config"].get("Image") or ""),
    )


def _unset_problem(key: str, folder: Path, name: str) -> str:
    return (
        f"The compose file in {folder} gives {key} to service {name}, which the source doesn't set. Remove it there, unless it is "
        "meant so."
    )
