# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the host's Docker and Compose (version 2 or 1): resolve a project's files, find and inspect containers."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping, Sequence

from ..common.errors import MigrationError
from ..common.redaction import Redactor
from .programs import Answer, ask, locate, locate_docker
from .system_account import myself

_REMEDY = "Install Docker's command line for this user, or set another kind in couch2pg_app."
_COMPOSE_REMEDY = (
    "Docker has no compose command either. Install it: apt-get install docker-compose-plugin (from Docker's repository), docker-compose-v2 "
    "(Ubuntu) or docker-compose (Debian); or set another kind in couch2pg_app."
)
# Variables that Docker needs to find its daemon. Compose would use any other variable when it resolves the project.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
START_SECONDS = 900


def environment() -> dict[str, str]:
    """The environment for Compose, reduced so that a project's variables come from its files only."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith("DOCKER_") or name.lower().endswith("_proxy")
    }


def docker(*words: str) -> Answer:
    """Run a docker command. Raises MigrationError ``program_missing`` or ``program_hangs``."""
    return _ask([locate_docker(_REMEDY), *words], None)


def inspect(container: str) -> dict[str, Any]:
    """The output of ``docker inspect``, parsed. Raises MigrationError ``container_unreadable``."""
    answer = docker("inspect", "--type=container", container)
    if answer.code != 0:
        raise MigrationError(
            f"Docker can't inspect the container {container}: {_last_line(answer)}. {remedy(answer.stderr)}",
            "container_unreadable",
            container=container,
        )
    (found,) = json.loads(answer.output)
    return dict(found)


def is_refusal(said: str) -> bool:
    """Whether ``said`` is the message of a Docker that runs, but that this user may not use."""
    return "ermission denied while trying to connect" in said


def remedy(said: str, services: str = "") -> str:
    """What the operator can do after Docker refused a command on a container with the message ``said``.

    services: the command that shows the services of the Compose project, where there is one.
    """
    if is_refusal(said):
        return f"sudo usermod --append --groups docker {myself()} lets this user use Docker from the next login on; then run again."
    if services and re.search("[Nn]o such service", said):
        return f"{services} shows the project's services. Correct service in couch2pg_app, then run again."
    if re.search("[Nn]o such (?:container|object)", said):
        return (
            "docker ps --all shows the containers of this host. Correct the container's name in couch2pg_postgres or couch2pg_app, then "
            "run again."
        )
    return "Start Docker if it doesn't run (sudo systemctl start docker), then run again."


def unreadable(what: str, answer: Answer, services: str = "") -> MigrationError:
    """The error for ``what`` that Docker refused to tell. services: as ``remedy`` takes it."""
    return MigrationError(
        f"{what} can't be read: {_last_line(answer)}. {remedy(answer.stderr, services)}", "container_unreadable"
    )


def image_variables(image: str) -> dict[str, str]:
    """The environment variables of an image; empty when the image doesn't exist."""
    answer = docker("image", "inspect", image)
    return variables_of(json.loads(answer.output)[0]) if answer.code == 0 else {}


def variables_of(inspected: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of an inspected container or image."""
    entries = (inspected.get("Config") or {}).get("Env") or []
    return {name: value for name, _equals, value in (entry.partition("=") for entry in entries)}


class Compose:
    """One Compose project. ``env_files`` are the operator's ``--env-file`` options; without any, Compose reads ``.env``."""

    def __init__(self, folder: Path, files: Sequence[str] = (), env_files: Sequence[str] = ()) -> None:
        if not folder.is_dir():
            raise MigrationError(
                f"{folder} is not a folder on this host. Set project_dir in couch2pg_app to the folder of couch2pg's compose file.",
                "deployment_missing",
                path=str(folder),
            )
        self.folder = folder
        self.files = list(files)
        self.env_files = list(env_files)

    @property
    def env_file(self) -> Path:
        """The environment file with the highest precedence: the last one."""
        return self.folder / (self.env_files[-1] if self.env_files else ".env")

    def config(self, replacement: Path | None = None) -> dict[str, Any]:
        """The project as Compose resolves it, optionally with the file ``replacement`` in place of ``env_file``.

        Raises MigrationError ``compose_refuses`` with Compose's message, or ``yaml_missing`` when version 1 needs PyYAML.
        """
        old = _program()[1]
        answer = self._run(["config"] if old else ["config", "--format=json"], replacement)
        if answer.code != 0:
            raise MigrationError(
                f"Compose refuses the project in {self.folder}: {_last_line(answer)}. Correct the compose file, or its variables "
                f"in .env (those of a shell don't count), until this succeeds: {self.shown('config', '--quiet')}",
                "compose_refuses",
                path=str(self.folder),
            )
        found = _yaml(answer.output) if old else json.loads(answer.output)
        return dict(found)

    def containers(self, service: str) -> list[str]:
        """The ids of the service's containers, running or stopped. Raises MigrationError ``container_unreadable``."""
        answer = self.run("ps", "--all", "--quiet", service)
        if answer.code != 0:
            # Otherwise a couch2pg that runs would be taken for one that does not.
            raise unreadable(
                f"The list of the containers of {service} in {self.folder}", answer, self.shown("config", "--services")
            )
        return answer.output.split()

    def run(self, *words: str) -> Answer:
        """Run any other Compose command of the project."""
        return self._run(words, None)

    def shown(self, *words: str) -> str:
        """The command line of ``run``, for the operator to paste into a shell."""
        return command_line(self.folder, *self._options(None), *words)

    def _run(self, words: Sequence[str], replacement: Path | None) -> Answer:
        return _ask([*_program()[0], *self._options(replacement), *words], self.folder)

    def _options(self, replacement: Path | None) -> list[str]:
        env_files = [*self.env_files[:-1], str(replacement)] if replacement else self.env_files
        return [f"--file={name}" for name in self.files] + [f"--env-file={name}" for name in env_files]


def command_line(folder: Path, *words: str) -> str:
    """A Compose command in the project's folder, for the operator to paste into a shell, with the version of Compose on this host."""
    return f"cd {shlex.quote(str(folder))} && {' '.join(map(shlex.quote, [*program_name(), *words]))}"


def program_name() -> list[str]:
    """What a person types for the Compose of this host; without any, for version 2."""
    with suppress(MigrationError):
        program = _program()[0]
        return [Path(program[0]).name, *program[1:]]
    return ["docker", "compose"]


@lru_cache(maxsize=None)
def _program() -> tuple[list[str], bool]:
    """The Compose command, and whether it is version 1.

    Version 2 is ``docker compose`` or ``docker-compose``. Cached, because version 1 takes a second to answer.
    """
    found = []
    with suppress(MigrationError, subprocess.TimeoutExpired):
        docker_itself = locate("docker", _REMEDY)
        if ask([docker_itself, "compose", "version"], variables=environment()).code == 0:
            found = [docker_itself, "compose"]
    found = found or [locate("docker-compose", _COMPOSE_REMEDY)]
    version = _ask([*found, "version", "--short"], None).output.strip()
    return found, version.lstrip("v").startswith("1.")


def _ask(command: Sequence[str], folder: Path | None) -> Answer:
    try:
        return ask(command, folder=folder, variables=environment(), seconds=START_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise MigrationError(
            f"{command[0]} didn't end within {START_SECONDS} s. Check whether Docker hangs.", "program_hangs"
        ) from error


def _yaml(text: str) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise MigrationError(
            "Compose version 1 answers in YAML, and this host's Python has no PyYAML to read it. Install python3-yaml, or Compose "
            "version 2.",
            "yaml_missing",
        ) from error
    return yaml.safe_load(text)


def _last_line(answer: Answer) -> str:
    lines = answer.stderr.splitlines() or [f"exit code {answer.code}"]
    return Redactor()(lines[-1]).rstrip(".?")
