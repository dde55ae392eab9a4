# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of this host: the addresses at which this host reaches them, and where their files are on this host."""

from __future__ import annotations

import json
import os
import pwd
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Mapping

from ..common.errors import MigrationError
from .compose import command_line, docker, inspect, is_refusal, unreadable, variables_of
from .container_programs import LABEL

CONNECT_SECONDS = 3.0
_COMPOSE = "com.docker.compose."
# Compose's version 1 has no command that lists projects.
_SERVICES = (
    f"docker ps --all --filter label={_COMPOSE}service --format "
    f'\'{{{{.Label "{_COMPOSE}project"}}}}/{{{{.Label "{_COMPOSE}service"}}}}\''
)


@dataclass(frozen=True)
class Container:
    """A container as Docker describes it."""

    inspected: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.inspected["Name"]).lstrip("/")

    @property
    def image(self) -> str:
        """The id of its image. A name can be moved to another image; an id can't."""
        return str(self.inspected["Image"])

    @property
    def process(self) -> int:
        """The id of its first process on this host; 0 when it doesn't run."""
        return int(self.inspected["State"].get("Pid") or 0)

    @property
    def engine_user(self) -> str:
        """The user whose rootless engine runs the container; empty for root's engine, also with mapped users."""
        with suppress(OSError, ValueError, IndexError, KeyError):
            outside = int(Path(f"/proc/{self.process}/uid_map").read_text(encoding="utf-8").split()[1])
            return pwd.getpwuid(outside).pw_name if outside else ""
        return ""

    @property
    def variables(self) -> dict[str, str]:
        """Its environment."""
        return variables_of(self.inspected)

    @property
    def is_postgres(self) -> bool:
        """Whether its image is an image of PostgreSQL: these set PGDATA or PG_MAJOR in the environment."""
        return "PGDATA" in self.variables or "PG_MAJOR" in self.variables

    def names(self) -> set[str]:
        """The names by which other containers of its networks reach it."""
        networks = self._networks().values()
        return {self.name, *(alias for network in networks for alias in network.get("Aliases") or ())}

    def published(self, port: int) -> list[tuple[str, int]]:
        """The addresses of this host that lead to ``port`` of the container."""
        ports = self.inspected["NetworkSettings"].get("Ports") or {}
        if self.inspected["HostConfig"].get("NetworkMode") == "host":
            return [("127.0.0.1", port)]
        everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
        found = [
            (everywhere.get(entry.get("HostIp", ""), entry.get("HostIp", "")), int(entry["HostPort"]))
            for entry in ports.get(f"{port}/tcp") or ()
        ]
        return sorted(set(found), key=lambda place: (":" in place[0], place))

    def is_public(self, port: int) -> bool:
        """Whether the settings of the container let other hosts reach its ``port``. Firewalls are not considered."""
        ports = self.inspected["NetworkSettings"].get("Ports") or {}
        if self.inspected["HostConfig"].get("NetworkMode") == "host":
            return True
        places = [str(entry.get("HostIp", "")) for entry in ports.get(f"{port}/tcp") or ()]
        return any(not place.startswith("127.") and place != "::1" for place in places)

    def address(self, port: int) -> tuple[str, int]:
        """Host and port by which this host reaches ``port`` of the container.

        Raises MigrationError ``container_unreachable`` when none of its addresses accepts a connection.
        """
        own = [(str(network["IPAddress"]), port) for network in self._networks().values() if network.get("IPAddress")]
        # Root tries the container's own address first, because a published port goes through a proxy. Others try published ports first,
        # because the host can't reach the networks of a rootless engine.
        places = [*own, *self.published(port)] if os.geteuid() == 0 else [*self.published(port), *own]
        for place in places:
            if _accepts(*place):
                return place
        tried = ", ".join(f"{host}:{number}" for host, number in places) or "it has none"
        raise MigrationError(
            f"Nothing answers on port {port} of the container {self.name} from this host (addresses: {tried}). Check that the server "
            f'runs; else publish its port (ports: ["127.0.0.1:{port}:{port}"] in its compose file), or set couch2pg_login_host and '
            "couch2pg_login_port.",
            "container_unreachable",
            container=self.name,
        )

    @property
    def recreate_command(self) -> str:
        """The command with which Compose recreates it as its compose file is then; empty for a container that Compose didn't make."""
        labels = self.inspected["Config"].get("Labels") or {}
        folder, service = (str(labels.get(f"{_COMPOSE}{name}", "")) for name in ("project.working_dir", "service"))
        if not folder or not service:
            return ""
        # A project may have another name than its folder.
        words = [f"--project-name={labels.get(f'{_COMPOSE}project', '')}"]
        words += [f"--file={name}" for name in labels.get(f"{_COMPOSE}project.config_files", "").split(",") if name]
        words += [
            f"--env-file={name}" for name in labels.get(f"{_COMPOSE}project.environment_file", "").split(",") if name
        ]
        return command_line(Path(folder), *words, "up", "--detach", "--no-deps", service)

    def on_host(self, path: str) -> Path | None:
        """Where ``path`` of the container is on this host; None when that is not known."""
        inside = PurePosixPath(path)
        mounts = [
            (PurePosixPath(mount["Destination"]), str(mount.get("Source") or ""))
            for mount in self.inspected.get("Mounts") or ()
        ]
        for place, source in sorted(mounts, key=lambda mount: len(mount[0].parts), reverse=True):
            if place == inside or place in inside.parents:
                return Path(source) / inside.relative_to(place) if source else None
        upper = ((self.inspected.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
        return Path(upper) / inside.relative_to("/") if upper else None

    def _networks(self) -> dict[str, Any]:
        mode = str(self.inspected["HostConfig"].get("NetworkMode") or "")
        # The mode ``container:ID``: the network of another container.
        shared = inspect(mode.partition(":")[2]) if mode.startswith("container:") else self.inspected
        return dict(shared["NetworkSettings"].get("Networks") or {})


def get(name: str) -> Container:
    """The container of that name or id, or of the Compose service ``PROJECT/SERVICE``. It must run.

    Raises MigrationError ``container_unreadable``, ``container_missing`` or ``container_stopped``.
    """
    found = _of_service(*name.split("/", 1)) if "/" in name.strip("/") else Container(inspect(name))
    if not found.process:
        raise MigrationError(
            f"The container {found.name} doesn't run. Start it (docker start {found.name}), then run again.",
            "container_stopped",
            container=found.name,
        )
    return found


def _of_service(project: str, service: str) -> Container:
    """The first container of a Compose service. It is found by labels, because its name depends on the version of Compose."""
    labels = (f"{_COMPOSE}project={project}", f"{_COMPOSE}service={service}")
    found = docker("ps", "--all", "--quiet", *(f"--filter=label={label}" for label in labels))
    if found.code != 0:
        raise unreadable(f"The list of the containers of {project}/{service}", found)
    if not found.output.split():
        raise MigrationError(
            f"No container of this host belongs to the service {service!r} of the Compose project {project!r}. Correct the "
            f"value of container in couch2pg_postgres; {_SERVICES} shows what it can be.",
            "container_missing",
        )
    return Container(inspect(found.output.split()[0]))


def all_of_them(running: bool = True) -> list[Container]:
    """The containers of this host, without the helper containers of this collection.

    Raises MigrationError ``container_unreadable`` with Docker's reason, and ``program_missing``.
    """
    answer = docker("ps", "--quiet", "--no-trunc", *(() if running else ("--all",)))
    ids = answer.output.split()
    if answer.code == 0 and ids:
        # Docker leaves out a container that has ended in between, and fails. So the exit code is ignored.
        shown = [Container(one) for one in json.loads(docker("inspect", "--type=container", *ids).output or "[]")]
        return [one for one in shown if LABEL not in (one.inspected["Config"].get("Labels") or {})]
    if answer.code:
        raise unreadable("The list of the containers of this host", answer)
    return []


def known_as(name: str, port: int) -> tuple[str, int] | None:
    """Host and port by which this host reaches ``port`` of the container ``name``; None unless exactly one container has that name.

    Raises MigrationError ``container_unreadable`` when Docker refuses this user, and this host doesn't know ``name`` itself.
    """
    try:
        found = [one for one in all_of_them() if name in one.names()]
    except MigrationError as error:
        if is_refusal(error.message) and not _resolves(name):
            raise MigrationError(
                f"This host doesn't know the name {name} in couch2pg's settings, which may be that of a container. {error.message} Or set "
                "couch2pg_app_become: true for this host; or couch2pg_app_reach, to addresses that work on it.",
                error.code,
            ) from error
        return None
    return found[0].address(port) if len(found) == 1 else None


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def sweep(job: str) -> None:
    """Remove the helper containers that the job in the folder ``job`` has left."""
    left = docker("ps", "--all", "--quiet", f"--filter=label={LABEL}={job}").output.split()
    if left:
        docker("rm", "--force", *left)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
