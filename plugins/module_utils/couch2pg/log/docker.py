# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a container, from Docker or Docker Compose. A position is the time of a line, as Docker recorded it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, Sequence

from ...common.byte_lines import Lines
from ...common.errors import MigrationError
from ...common.redaction import Redactor
from ...host.compose import Compose, remedy
from ...host.programs import Answer, Output, ask, locate_docker
from .position import LogSource, Position, check

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) ?")
_REMEDY = "Install Docker's command line for this user, or say where couch2pg's log is: couch2pg_app: {log: {kind: file, path: PATH}}."


class DockerLog(LogSource):
    """The output of a container, including its standard error, to which couch2pg logs errors."""

    kind = "docker"

    def __init__(self, container: str) -> None:
        super().__init__()
        self._container = container

    def container(self) -> str:
        """Name or id of the container; empty when there is none yet."""
        return self._container

    def position(self) -> Position:
        """The position of the last line; without any line, a position before everything that follows."""
        container = self.container()
        self.after = self._at("")
        if container:
            for _line in self._read(container, ["--tail=1"], ""):
                pass
        return self.after

    def lines(self, since: Position | None) -> Iterator[bytes]:
        """The lines. Raises MigrationError ``log_unreadable`` with Docker's message."""
        time = str(check(since, self._at(""))["time"]) if since else ""
        container = self.container()
        if not container:
            raise MigrationError(
                f"{self} has no container, and so no log. Start couch2pg first, or correct the name.",
                "log_missing",
            )
        self.after = self._at(time)
        yield from self._read(container, [f"--since={time}"] if time else [], time)

    def _read(self, container: str, more: Sequence[str], time: str) -> Iterator[bytes]:
        docker = locate_docker(_REMEDY)
        _answered(ask([docker, "inspect", "--type=container", "--format={{.Id}}", container], inherit=True), str(self))
        # Docker writes the container's standard error to its own.
        output = Output([docker, "logs", "--timestamps", *more, container], merged=True)
        last = time.encode()
        said = b""
        for line in Lines(output, unfinished_too=True):
            stamp = _STAMP.match(line)
            if stamp is None:
                said = line
                continue
            # Docker's --since includes the line with exactly that time.
            if stamp.group(1) == time.encode():
                continue
            last = stamp.group(1)
            yield line[stamp.end() :]
        self.after = self._at(last.decode())
        _answered(Answer(output.code, "", Redactor()(said)), str(self))

    def _at(self, time: str) -> Position:
        return {"kind": self.kind, "time": time}

    def __str__(self) -> str:
        return f"The container {self._container}"


class ComposeLog(DockerLog):
    """The output of the container of a service in a Compose project."""

    kind = "compose"

    def __init__(
        self, project_dir: Path, service: str, files: Sequence[str] = (), env_files: Sequence[str] = ()
    ) -> None:
        super().__init__("")
        self._project_dir = project_dir
        self._service = service
        self._files = files
        self._env_files = env_files

    def container(self) -> str:
        """The container, according to the host's Compose (version 2 or 1) and the project's files."""
        if not self._project_dir.is_dir():
            raise MigrationError(
                f"{self._project_dir} is not a folder on this host. Set it to the folder of couch2pg's compose file.",
                "log_missing",
                path=str(self._project_dir),
            )
        compose = Compose(self._project_dir, self._files, self._env_files)
        answer = compose.run("ps", "--all", "--quiet", self._service)
        _answered(answer, str(self), compose.shown("config", "--services"))
        found = answer.output.split()
        if len(found) > 1:
            raise MigrationError(
                f"{self} has {len(found)} containers. Name the one of couch2pg, such as couch2pg_app: {{log: {{kind: docker, "
                f"container: {found[0][:12]}}}}}.",
                "ambiguous",
                containers=found,
            )
        return found[0] if found else ""

    def __str__(self) -> str:
        return f"The service {self._service} in {self._project_dir}"


def _answered(answer: Answer, what: str, services: str = "") -> None:
    if answer.code != 0:
        said = answer.stderr.splitlines()[-1] if answer.stderr else f"exit code {answer.code}"
        raise MigrationError(
            f"{what} can't be read: {Redactor()(said).rstrip('.?')}. {remedy(said, services)}",
            "log_unreadable",
        )
