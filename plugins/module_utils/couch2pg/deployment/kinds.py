# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How couch2pg is deployed on a host, as the operator describes it or as it is found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping

from ...common.errors import MigrationError
from ...host.files import expand
from ...host.kept_file import Change
from ..log_place import LogPlace
from ..settings import Settings

SYSTEMD, COMPOSE, ENV_FILE, NONE = "systemd", "compose", "env_file", "none"
KINDS = (SYSTEMD, COMPOSE, ENV_FILE, NONE)
AUTO = "auto"
UNIT, SERVICE = "couch2pg", "cht-couch2pg"


@dataclass(frozen=True)
class Deployment:
    """A deployment. Fields that are unknown, or that its kind doesn't have, are empty."""

    kind: str
    unit: str = UNIT
    env_file: str = ""
    project_dir: str = ""
    service: str = SERVICE
    compose_files: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    container: str = ""
    app_dir: str = ""
    node: str = ""
    start_command: tuple[str, ...] = ()
    stop_command: tuple[str, ...] = ()
    status_command: tuple[str, ...] = ()
    log: LogPlace = field(default_factory=LogPlace)
    # Why the search may have missed a couch2pg, and what to do about that.
    unseen: str = ""

    def as_dict(self) -> dict[str, object]:
        """The deployment as the option ``deployment`` of this collection's modules takes it."""
        shown = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        del shown["unseen"]
        return {**shown, "log": self.where_its_log_is()}

    def where_its_log_is(self) -> LogPlace:
        """The place of the log; empty when unknown."""
        if self.log:
            return self.log
        if self.kind == SYSTEMD:
            return {"kind": "journald", "unit": self.unit}
        if self.kind == COMPOSE and self.container:
            return {"kind": "docker", "container": self.container}
        if self.kind == COMPOSE:
            return {
                "kind": "compose",
                "project_dir": self.project_dir,
                "service": self.service,
                "compose_files": list(self.compose_files),
                "env_files": list(self.env_files),
            }
        return {}

    def as_found(self, found: Found) -> Deployment:
        """The same, with the application's folder (if the operator named none) and the service's real name."""
        return replace(self, app_dir=self.app_dir or found.app_dir, service=found.service or self.service)


@dataclass(frozen=True)
class Found:
    """What was read from a deployment."""

    settings: Settings
    running: bool
    # The Node.js program, and its version when only that is known.
    node: str = ""
    node_version: str = ""
    app_dir: str = ""
    image: str = ""
    service: str = ""
    # Variables of which the running process has other values.
    stale: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The changes that give couch2pg ``settings``, and the problems that these changes leave."""

    settings: Settings
    changes: tuple[Change, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[Change, ...]:
        """The changes of files that differ."""
        return tuple(change for change in self.changes if change.needed)


def from_options(options: Mapping[str, Any]) -> Deployment:
    """The deployment in the option; its kind may still be ``auto``. Raises MigrationError ``deployment``."""
    given = {name: value for name, value in options.items() if value not in (None, "", [])}
    for name in ("env_file", "project_dir", "app_dir", "node"):
        if name in given:
            given[name] = str(expand(given[name]))
    for name in ("compose_files", "env_files", "start_command", "stop_command", "status_command"):
        if name in given:
            given[name] = tuple(str(word) for word in given[name])
    if "log" in given:
        given["log"] = {name: value for name, value in given["log"].items() if value is not None}
    deployment = Deployment(**{"kind": AUTO, **given})
    if deployment.kind == COMPOSE and not (deployment.project_dir or deployment.container):
        raise _incomplete("compose", "project_dir, the folder of its compose file")
    if deployment.kind == ENV_FILE and not deployment.env_file:
        raise _incomplete("env_file", "env_file, the file with its settings")
    return deployment


def _incomplete(kind: str, needed: str) -> MigrationError:
    return MigrationError(f"couch2pg_app has the kind {kind} without {needed}. Add it.", "deployment")


def missing(deployment: Deployment) -> MigrationError:
    """The error for a host without couch2pg. deployment: the result of the search."""
    return MigrationError(
        "There is no couch2pg on this host: neither a systemd unit couch2pg or cht-couch2pg nor a container of an image with couch2pg in "
        "its name was found. If couch2pg is here, describe it in couch2pg_app (kind systemd, compose or env_file)."
        + missed(deployment),
        "deployment_missing",
    )


def missed(deployment: Deployment) -> str:
    """A sentence after "There is no couch2pg on this host": why the search may have missed one; empty when it can't have."""
    return f" One in a container may have been missed: {deployment.unseen}" if deployment.unseen else ""
