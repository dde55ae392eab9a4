# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own Compose, version 2 or 1: what it makes of a project's files, and which containers it has."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping, Sequence

from ..common.errors import MigrationError
from ..common.redaction import Redactor
from .programs import Answer, ask, locate

_REMEDY = "Install Docker's command line for this user, or set another kind in couch2pg_app."
# What the programs need to find the daemon; anything else could be taken for a variable of the project.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
START_SECONDS = 900


def environment() -> dict[str, str]:
    """What Compose is given, so that a project's variables come from its files alone."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith("DOCKER_") or name.lower().endswith("_proxy")
    }


def docker(*words: str) -> Answer:
    """Ask Docker. Raises MigrationError ``program_missing`` or ``program_hangs``."""
    return _ask([locate("docker", _REMEDY), *words], None)


def inspect(container: str) -> dict[str, Any]:
    """All that Docker knows of a container. Raises MigrationError ``container_unreadable``."""
    answer = docker("inspect", "--type=container", container)
    if answer.code != 0:
        raise MigrationError(
            f"Docker doesn't tell about the container {container}: {_last_line(answer)}. See that Docker runs, that this user may use "
            "it, and that the name is right.",
            "container_unreadable",
            container=container,
        )
    (found,) = json.loads(answer.output)
    return dict(found)


def image_variables(image: str) -> dict[str, str]:
    """The variables that an image brings; none where it is gone."""
    answer = docker("image", "inspect", image)
    return variables_of(json.loads(answer.output)[0]) if answer.code == 0 else {}


def variables_of(inspected: Mapping[str, Any]) -> dict[str, str]:
    """The environment of an inspected container or image."""
    entries = (inspected.get("Config") or {}).get("Env") or []
    return {name: value for name, _equals, value in (entry.partition("=") for entry in entries)}


class Compose:
    """Compose for one project. ``env_files`` are those that ``up`` is given; without any it takes ``.env``."""

    def __init__(self, folder: Path, files: Sequence[str] = (), env_files: Sequence[str] = ()) -> None:
        if not folder.is_dir():
            raise MigrationError(
                f"{folder} is not a folder on this host. Give the one that holds couch2pg's compose file (project_dir in couch2pg_app).",
                "deployment_missing",
                path=str(folder),
            )
        self.folder = folder
        self.files = list(files)
        self.env_files = list(env_files)

    @property
    def env_file(self) -> Path:
        """The file whose variables count: the last one."""
        return self.folder / (self.env_files[-1] if self.env_files else ".env")

    def config(self, instead: Path | None = None) -> dict[str, Any]:
        """The project as Compose resolves it, with the file ``instead`` of ``env_file``.

        Raises MigrationError ``compose_refuses`` with what Compose says, ``yaml_missing`` where version 1 can't be understood.
        """
        program, old = _program()
        answer = self._run(["config"] if old else ["config", "--format=json"], instead)
        if answer.code != 0:
            raise MigrationError(
                f"{' '.join([Path(program[0]).name, *program[1:]])} config fails in {self.folder}: {_last_line(answer)}. Correct the "
                "compose file or its variables.",
                "compose_refuses",
                path=str(self.folder),
            )
        found = _yaml(answer.output) if old else json.loads(answer.output)
        return dict(found)

    def containers(self, service: str) -> list[str]:
        """The ids of the service's containers, running or not."""
        answer = self.run("ps", "--all", "--quiet", service)
        return answer.output.split() if answer.code == 0 else []

    def run(self, *words: str) -> Answer:
        """Any other command of it."""
        return self._run(words, None)

    def _run(self, words: Sequence[str], instead: Path | None) -> Answer:
        env_files = [*self.env_files[:-1], str(instead)] if instead else self.env_files
        options = [f"--file={name}" for name in self.files] + [f"--env-file={name}" for name in env_files]
        return _ask([*_program()[0], *options, *words], self.folder)


@lru_cache(maxsize=None)
def _program() -> tuple[list[str], bool]:
    """Compose of version 2, a part of docker, or a program of its own; and whether it is version 1, which takes a second to answer."""
    found = []
    with suppress(MigrationError, subprocess.TimeoutExpired):
        docker_itself = locate("docker", _REMEDY)
        if ask([docker_itself, "compose", "version"], given=environment()).code == 0:
            found = [docker_itself, "compose"]
    found = found or [locate("docker-compose", f"Docker has no compose command either. {_REMEDY}")]
    version = _ask([*found, "version", "--short"], None).output.strip()
    return found, version.lstrip("v").startswith("1.")


def _ask(command: Sequence[str], folder: Path | None) -> Answer:
    try:
        return ask(command, folder=folder, given=environment(), seconds=START_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise MigrationError(
            f"{command[0]} didn't end within {START_SECONDS} s. See whether Docker hangs.", "program_hangs"
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
    lines = answer.said.splitlines() or [f"exit code {answer.code}"]
    return Redactor()(lines[-1]).rstrip(".")
