# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step of a cutover for a program that this collection doesn't know: a file, a command or an HTTP request, and its way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Sequence, TypedDict
from urllib.parse import urlsplit

from ..common.errors import MigrationError
from ..common.http_api import HttpApi
from ..common.redaction import Redactor
from ..host import kept_file
from ..host.files import FILE_MODE
from ..host.programs import NOT_ENDED, NOT_RUN, call
from .changes import Change

RUN_SECONDS = 600
SHOWN_LINES = 5


class FileOptions(TypedDict):
    """The file, its content on the target, and the command to run after each change."""

    path: str
    content: str
    then: list[str] | None


class CommandOptions(TypedDict):
    """The commands of ``CommandStep``."""

    to: list[str]
    back: list[str]
    check: list[str] | None


class Request(TypedDict, total=False):
    """A request to a program. contains: what the answer contains when the program uses the target, in a check only."""

    url: str
    method: str
    headers: dict[str, object] | None
    body: str | None
    contains: str


class HttpOptions(TypedDict):
    """The requests of ``HttpStep``. ca_cert: a file with the certificates to trust."""

    to: Request
    back: Request
    check: Request | None
    ca_cert: str | None


class Step:
    """One step. ``secrets`` are masked in messages.

    known: the side according to the stored way back ("source" or "target"), for a step without a check.
    """

    tool = ""

    def __init__(self, name: str, migration_id: str, known: str, secrets: Sequence[str]) -> None:
        self.name = name
        self.migration_id = migration_id
        self.known = known
        self.redact = Redactor(secrets)
        self.secrets = secrets

    def side(self) -> str:
        """The side that the program uses now: "source" or "target"."""
        return self.known

    def needs(self, side: str) -> bool:
        """Whether the step has to be done to bring the program to that side."""
        return self.side() != side

    def move(self, side: str) -> None:
        """Bring the program to that side. Raises MigrationError."""
        raise NotImplementedError

    def diff(self, side: str) -> dict[str, str]:
        """What ``move`` changes, without secrets, for diff mode."""
        before = "source" if side == "target" else "target"
        return {"before": f"{self.tool} {self.name}: {before}\n", "after": f"{self.tool} {self.name}: {side}\n"}

    def change(self) -> Change:
        """The change to store for the way back."""
        return {"tool": self.tool, "id": self.name, "name": self.name, "old": "source", "new": "target"}

    def run(self, arguments: Sequence[str]) -> int:
        """Run a command; returns its exit code. Raises MigrationError ``step_failed`` when it can't be started, or doesn't end."""
        code, said = self._run(arguments)
        if code in (NOT_ENDED, NOT_RUN):
            raise self.failed(f"{arguments[0]}: {said}")
        return code

    def must_run(self, arguments: Sequence[str]) -> None:
        """Run a command. Raises MigrationError ``step_failed`` when it fails."""
        code, said = self._run(arguments)
        if code:
            raise self.failed(f"{arguments[0]} ended with {code}{': ' + said if said else ''}")

    def failed(self, why: str) -> MigrationError:
        """The error of a step that failed."""
        return MigrationError(f"The step {self.name!r} failed: {why.rstrip('.')}.", "step_failed", step=self.name)

    def _run(self, arguments: Sequence[str]) -> tuple[int, str]:
        code, lines = call(arguments, RUN_SECONDS)
        return code, " ".join(self.redact(line) for line in lines[-SHOWN_LINES:])


class FileStep(Step):
    """A file that names the database. A copy of the old file stays beside it; ``then`` is run after each change.

    A mark beside the file exists until ``then`` has succeeded, so that a later run repeats a failed ``then``.
    """

    tool = "file"

    def __init__(self, options: FileOptions, *common: Any) -> None:
        super().__init__(*common)
        self.path = Path(options["path"])
        self.content: str = options["content"]
        self.then: Sequence[str] = options["then"] or ()
        # A symbolic link stays, and its target changes.
        self._real = self.path.resolve()
        self._copy = self._real.with_name(f"{self._real.name}.before-{self.migration_id}")
        self._mark = self._real.with_name(f"{self._real.name}.then-{self.migration_id}")

    def move(self, side: str) -> None:
        if self.then:
            self._write_mark()
        if side == "target":
            kept_file.plan(self.path, self.content).apply(self.migration_id)
        else:
            self._restore()
        if self.then:
            self.must_run(self.then)
        # The copy is removed last, so that a run after a kill can still restore it.
        self._mark.unlink(missing_ok=True)
        if side == "source":
            self._copy.unlink(missing_ok=True)

    def needs(self, side: str) -> bool:
        if self._mark.exists():
            return True
        if side == "target":
            if not self.path.exists():
                raise self.failed(
                    f"there is no file {self.path}. Set its path in couch2pg_cutover_steps to the file that names the source today"
                )
            return self._current() != self.content
        if self._copy.exists():
            return True
        if kept_file.read(self.path) == self.content:
            raise self.failed(
                f"the copy of the old {self.path} ({self._copy.name}) doesn't exist any more. Write its old content into it, then run again"
            )
        return False

    def diff(self, side: str) -> dict[str, str]:
        now = self._current()
        then = self.content if side == "target" else kept_file.read(self._copy) or now
        return {
            "before": self._shown(now),
            "after": self._shown(then),
            "before_header": str(self.path),
            "after_header": str(self.path),
        }

    def _restore(self) -> None:
        now, before = self._current(), kept_file.read(self._copy)
        if now not in (self.content, before):
            # Later edits of the file are kept beside it, too.
            kept_file.Change(self._real.with_name(f"{self._real.name}.edited-{self.migration_id}"), None, now).apply("")
        if before is not None:
            kept_file.plan(self.path, before).apply(self.migration_id)

    def _write_mark(self) -> None:
        try:
            self._mark.touch(mode=FILE_MODE)
        except OSError as error:
            raise self.failed(f"{self._mark} can't be written: {error.strerror}") from error

    def _current(self) -> str:
        return kept_file.read(self.path) or ""

    def _shown(self, text: str) -> str:
        return "".join(f"{self.redact.credentials(line)}\n" for line in text.splitlines())


class CommandStep(Step):
    """Commands: ``to`` and ``back``; ``check`` succeeds when the program uses the target."""

    tool = "command"

    def __init__(self, options: CommandOptions, *common: Any) -> None:
        super().__init__(*common)
        self.options = options

    def side(self) -> str:
        check = self.options["check"]
        return self.known if not check else "source" if self.run(check) else "target"

    def move(self, side: str) -> None:
        self.must_run(self.options["to" if side == "target" else "back"])
        if self.options["check"] and self.side() != side:
            raise self.failed(
                f"the command succeeded, but the check shows that the program still uses the {self.side()}"
            )


class HttpStep(Step):
    """Requests: ``to`` and ``back``; the answer to ``check`` contains ``contains`` when the program uses the target."""

    tool = "http"

    def __init__(self, options: HttpOptions, *common: Any) -> None:
        super().__init__(*common)
        self.options = options

    def side(self) -> str:
        check = self.options["check"]
        return self.known if not check else "target" if check["contains"] in self._ask(check) else "source"

    def move(self, side: str) -> None:
        self._ask(self.options["to" if side == "target" else "back"])
        if self.options["check"] and self.side() != side:
            raise self.failed(
                f"the request succeeded, but the check shows that the program still uses the {self.side()}"
            )

    def _ask(self, request: Request) -> str:
        headers = {str(name): str(value) for name, value in (request["headers"] or {}).items()}
        parts = urlsplit(request["url"])
        rest = request["url"][len(f"{parts.scheme}://{parts.netloc}") :]
        try:
            place = f"{parts.scheme}://{parts.netloc}"
            # An answer may quote a header, or the token in it.
            secrets = [
                *self.secrets,
                *headers.values(),
                *(value.split()[-1] for value in headers.values() if value.split()),
            ]
            api = HttpApi(parts.netloc.rpartition("@")[2], place, headers, secrets, self.options["ca_cert"] or "")
            body = request.get("body")
            return api.send(request.get("method") or "GET", rest, None if body is None else body.encode())
        except MigrationError as error:
            raise self.failed(error.message) from None


KINDS: dict[str, Callable[..., Step]] = {kind.tool: kind for kind in (FileStep, CommandStep, HttpStep)}
