# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find couch2pg's deployment of any kind on a host, read it, and write its settings."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, Sequence

from ...common.errors import MigrationError
from ...host import compose as docker_compose
from ...host import containers
from ...host.containers import Container
from ..settings import ENTRYPOINT, URL, Settings
from . import compose, env_file, kinds, systemd
from .kinds import Deployment, Found, Plan

UNITS = ("couch2pg", "cht-couch2pg")
_LABEL = "com.docker.compose."


def find(options: Mapping[str, Any]) -> Deployment:
    """The deployment that the option ``deployment`` names; with the kind ``auto``, the one on this host.

    Of the kind ``none``, ``unseen`` says what could not be searched. Raises MigrationError ``ambiguous`` when there are two,
    ``deployment`` when the option is incomplete, ``container_unreadable`` or ``unit_unreadable`` when this user may not search.
    """
    named = kinds.from_options(options)
    if named.kind != kinds.AUTO:
        return named
    if named.project_dir or named.container:
        return replace(named, kind=kinds.COMPOSE)
    if named.env_file:
        return replace(named, kind=kinds.ENV_FILE)
    try:
        unit, refusal = _unit(named, options), None
    except MigrationError as error:
        if error.code != "unit_unreadable":
            raise
        # A couch2pg in a container needs no systemd.
        unit, refusal = None, error
    found = unit or _container(named)
    if found.kind == kinds.NONE and refusal:
        raise refusal
    return found


def _unit(named: Deployment, options: Mapping[str, Any]) -> Deployment | None:
    if shutil.which("systemctl") is None and shutil.which("systemctl", path="/usr/bin:/bin") is None:
        return None
    try:
        shown = [systemd.show(name) for name in ([options["unit"]] if options.get("unit") else UNITS)]
    except MigrationError:
        if systemd.is_init():
            raise
        return None
    units = [unit for unit in shown if unit.exists and (unit.running or not unit.masked)]
    units = [unit for unit in units if unit.running] or [unit for unit in units if unit.loaded] or units
    if len(units) > 1:
        raise MigrationError(
            f"There is more than one unit of couch2pg on this host: {', '.join(unit.name for unit in units)}. Name one in couch2pg_app: "
            "kind systemd, and unit.",
            "ambiguous",
        )
    return replace(named, kind=kinds.SYSTEMD, unit=units[0].name) if units else None


def _container(named: Deployment) -> Deployment:
    try:
        found = [one.inspected for one in containers.all_of_them(running=False)]
    except MigrationError as error:
        if docker_compose.is_refusal(error.message):
            raise MigrationError(
                f"Whether couch2pg runs in a container of this host is unknown. {error.message} Or set couch2pg_app_become: true for this "
                "host; or couch2pg_app: {kind: none}, if no couch2pg runs here.",
                error.code,
            ) from error
        if error.code == "container_unreadable":
            return replace(named, kind=kinds.NONE, unseen=error.message)
        if error.code == "program_missing":
            # A host without Docker has no containers.
            return replace(named, kind=kinds.NONE)
        raise
    # The image of its PostgreSQL may have the name of the project, such as cht-couch2pg-postgres.
    ours = [
        one for one in found if "couch2pg" in str(one["Config"].get("Image") or "") and not Container(one).is_postgres
    ]
    ours = [one for one in ours if one["State"]["Running"]] or ours
    if len(ours) > 1:
        raise MigrationError(
            f"There is more than one container of couch2pg on this host: {', '.join(one['Name'].lstrip('/') for one in ours)}. Name "
            "one in couch2pg_app: kind compose, and project_dir and service; or container, where no compose file made it.",
            "ambiguous",
        )
    return of_labels(named, ours[0]) if ours else _beside(named, found)


def _beside(named: Deployment, found: Sequence[Mapping[str, Any]]) -> Deployment:
    """A service of couch2pg that has no container yet, in the Compose project of another container, such as its PostgreSQL."""
    unseen = ""
    for inspected in {_folder(one): one for one in found if _folder(one)}.values():
        deployment = of_labels(named, inspected)
        try:
            config = compose.project(deployment).config()
            return replace(deployment, service=compose.service_name(config, replace(deployment, service="")))
        except MigrationError as error:
            if error.code != "deployment_missing":
                unseen = error.message
    return replace(named, kind=kinds.NONE, unseen=unseen)


def _folder(inspected: Mapping[str, Any]) -> str:
    """The folder of a container's Compose project; empty without one."""
    folder = str((inspected["Config"].get("Labels") or {}).get(f"{_LABEL}project.working_dir", ""))
    return folder if folder and Path(folder).is_dir() else ""


def of_labels(named: Deployment, inspected: Mapping[str, Any]) -> Deployment:
    """The deployment that Compose's labels on a container describe."""
    labels = inspected["Config"].get("Labels") or {}
    folder = _folder(inspected)
    if not folder:
        return replace(named, kind=kinds.COMPOSE, container=str(inspected["Name"]).lstrip("/"))
    files = [name for name in labels.get(f"{_LABEL}project.config_files", "").split(",") if name]
    usual = {"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
    usual |= {name.replace("compose.", "compose.override.") for name in usual}
    unusual = any(Path(folder, name).parent != Path(folder) or Path(name).name not in usual for name in files)
    env_files = [name for name in labels.get(f"{_LABEL}project.environment_file", "").split(",") if name]
    return replace(
        named,
        kind=kinds.COMPOSE,
        project_dir=folder,
        service=labels.get(f"{_LABEL}service", named.service),
        compose_files=named.compose_files or (tuple(files) if unusual else ()),
        env_files=named.env_files or (() if env_files == [f"{folder}/.env"] else tuple(env_files)),
    )


def read(deployment: Deployment) -> Found:
    """Read the deployment. Raises MigrationError ``deployment_missing`` when there is none."""
    readers = {
        kinds.SYSTEMD: systemd.read,
        kinds.COMPOSE: compose.read,
        kinds.ENV_FILE: env_file.read,
    }
    if deployment.kind not in readers:
        raise kinds.missing(deployment)
    return _with_node(deployment, readers[deployment.kind](deployment))


def _with_node(deployment: Deployment, found: Found) -> Found:
    """``found`` with the Node.js that the operator named, if any."""
    return replace(found, node=deployment.node) if deployment.node else found


def style(deployment: Deployment) -> str:
    """How a deployment of this kind names PostgreSQL when it has no settings yet."""
    return ENTRYPOINT if deployment.kind == kinds.COMPOSE else URL


def read_or_nothing(deployment: Deployment) -> Found:
    """Read the deployment of a target, which may have no settings yet."""
    try:
        return read(deployment)
    except MigrationError as error:
        if deployment.kind != kinds.ENV_FILE or error.code != "settings_missing":
            raise
        return _with_node(deployment, Found(Settings({}, style(deployment)), env_file.is_running(deployment)))


def is_there(deployment: Deployment) -> bool:
    """Whether the named deployment exists on this host."""
    if deployment.kind == kinds.SYSTEMD:
        return systemd.show(deployment.unit).exists
    if deployment.kind == kinds.COMPOSE and deployment.project_dir:
        return any(Path(deployment.project_dir).glob("*.y*ml"))
    if deployment.kind == kinds.ENV_FILE:
        return any(name and Path(name).exists() for name in (deployment.env_file, deployment.app_dir))
    return deployment.kind != kinds.NONE


def plan(deployment: Deployment, settings: Settings) -> Plan:
    """The changes of files that give the deployment these settings. Writes nothing."""
    if deployment.kind == kinds.SYSTEMD:
        return systemd.plan(deployment, settings)
    if deployment.kind == kinds.COMPOSE:
        return compose.plan(deployment, settings)
    if deployment.kind == kinds.ENV_FILE:
        return env_file.plan(deployment, settings)
    raise kinds.missing(deployment)


def apply(deployment: Deployment, planned: Plan, migration_id: str) -> None:
    """Write the changes, and check that the deployment uses them.

    Raises MigrationError ``settings_not_taken`` after it restored the old files.
    """
    for change in planned.needed:
        change.apply(migration_id)
    try:
        if deployment.kind == kinds.SYSTEMD:
            systemd.verify(deployment, planned.settings)
        elif deployment.kind == kinds.COMPOSE:
            compose.verify(deployment, planned.settings, planned)
    except MigrationError:
        for change in planned.needed:
            change.undo()
        if deployment.kind == kinds.SYSTEMD:
            systemd.reload()
        raise


def redacted_diff(before: Settings, after: Settings) -> dict[str, str]:
    """The masked variables before and after, for diff mode. A masked value that differs is marked."""
    shown = after.redacted()
    for name, value in before.redacted().items():
        if shown.get(name) == value and before.variables[name] != after.variables[name]:
            shown[name] += " (another one)"
    return {"before": _lines(before.redacted()), "after": _lines(shown)}


def _lines(variables: Mapping[str, str]) -> str:
    return "".join(f"{name}={json.dumps(value, ensure_ascii=False)}\n" for name, value in variables.items())
