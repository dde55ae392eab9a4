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
    """The Compose project of the deployment. Raises MigrationError ``deployment`` when only its container is known."""
    if not deployment.project_dir:
        name = deployment.container
        raise MigrationError(
            f"The container {name} belongs to no folder with a compose file that is known here. If there is one, set couch2pg_app: "
            "{kind: compose, project_dir: FOLDER}. If docker run made the container, its settings can't be changed: write a compose file "
            f"with the settings that this command prints: docker inspect --format '{{{{json .Config.Env}}}}' {name}; remove the "
            f"container: docker rm --force {name}; set couch2pg_app to the folder of that file, and run again.",
            "deployment",
        )
    return Compose(Path(deployment.project_dir), deployment.compose_files, deployment.env_files)


def read(deployment: Deployment) -> Found:
    """The service as Compose resolves it; without a project, the environment of the container."""
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
    """The container that the deployment names, or that of its service; empty when there is none yet."""
    if deployment.container or not deployment.project_dir:
        return deployment.container
    compose = project(deployment)
    return _own_container(compose, service_name(compose.config(), deployment))


def _own_container(compose: Compose, name: str) -> str:
    found = compose.containers(name)
    if len(found) > 1:
        raise MigrationError(
            f"The service {name} in {compose.folder} has {len(found)} containers, but couch2pg must run only once. Remove the others "
            f"(docker rm --force {' '.join(found[1:])} leaves {found[0]}), or set container in couch2pg_app.",
            "ambiguous",
            containers=found,
        )
    return found[0] if found else ""


def service_name(config: Mapping[str, Any], deployment: Deployment) -> str:
    """The service that the deployment names, or the only one with an image of couch2pg.

    Raises MigrationError ``deployment_missing``.
    """
    services = config.get("services") or {}
    if deployment.service in services:
        return deployment.service
    alike = [name for name, service in services.items() if "couch2pg" in str(service.get("image") or "")]
    if len(alike) > 1:
        # The image of its PostgreSQL may have the name of the project, too.
        alike = [name for name in alike if "COUCHDB_URL" in (services[name].get("environment") or {})]
    if len(alike) == 1:
        return str(alike[0])
    raise MigrationError(
        f"The Compose project in {deployment.project_dir} has no service {deployment.service}; it has {', '.join(sorted(services))}. "
        "Correct service in couch2pg_app.",
        "deployment_missing",
    )


def plan(deployment: Deployment, settings: Settings) -> Plan:
    """The change of the project's ``.env`` that gives the service exactly these settings.

    Raises MigrationError ``compose_hard_coded`` when the compose file overrides a value of ``.env``.
    """
    compose = project(deployment)
    config = compose.config()
    name = service_name(config, deployment)
    have = compose_variables.environment(config, name)
    wanted = {key: value for key, value in settings.variables.items() if have.get(key) != value}
    # couch2pg treats an empty variable like an unset one.
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
                f"{key} is set on the source, but the compose file in {compose.folder} doesn't pass it to the service {name}. "
                f"Add {key}: ${{{key}}} to its environment if couch2pg needs it."
            )
        else:
            problems.append(_unset_problem(key, compose.folder, name))
    if fixed:
        raise _hard_coded(compose, name, fixed)
    after, resolved = compose_variables.written(
        compose, name, before or "", {names[key]: key for key in wanted}, wanted
    )
    left = compose_variables.environment(resolved, name)
    # One variable of .env may set two of couch2pg's.
    mixed = sorted(key for key, value in settings.variables.items() if is_its_own(key) and left.get(key, "") != value)
    if mixed:
        raise _hard_coded(compose, name, mixed)
    problems += [
        _unset_problem(key, compose.folder, name) for key in wanted if key not in settings.variables and left.get(key)
    ]
    problems += compose_variables.side_effects(config, resolved, name)
    return Plan(settings, (kept_file.Change(compose.env_file, before, after),), tuple(problems))


def verify(deployment: Deployment, settings: Settings, planned: Plan) -> None:
    """Check that Compose resolves the written file to these settings. Raises MigrationError ``settings_not_taken``."""
    if not planned.needed:
        return
    compose = project(deployment)
    config = compose.config()
    have = compose_variables.environment(config, service_name(config, deployment))
    wrong = sorted(key for key, value in settings.variables.items() if is_its_own(key) and have.get(key, "") != value)
    if wrong:
        raise MigrationError(
            f"Compose has other values of {', '.join(wrong)} than {planned.needed[0].path}. {compose.shown('config')} shows those in use. "
            "Remove the setting that overrides the file, then run again.",
            "settings_not_taken",
            variables=wrong,
        )


def _hard_coded(compose: Compose, service: str, names: list[str]) -> MigrationError:
    return MigrationError(
        f"The compose file in {compose.folder} doesn't take {', '.join(names)} of the service {service} from .env: it has a fixed "
        "value, a combined one, or none. Write there "
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
        f"The compose file in {folder} sets {key} for the service {name}, which the source doesn't set. Remove it there, unless you "
        "want it."
    )
