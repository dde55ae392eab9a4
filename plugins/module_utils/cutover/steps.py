# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator's own step of a cutover: a file, a command or an HTTP request, and its way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence
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


class Step:
    """One step; ``name`` is what the operator calls it. ``secrets`` are not shown.

    known: where it is as far as is remembered ("source" or "target"), for one that can't be looked at.
    """

    tool = ""

    def __init__(self, name: str, migration_id: str, known: str, secrets: Sequence[str]) -> None:
        self.name = name
        self.migration_id = migration_id
        self.known = known
        self.redact = Redactor(secrets)
        self.secrets = secrets

    def side(self) -> str:
        """Where it is now: "source" or "target"."""
        return self.known

    def needs(self, side: str) -> bool:
        """Whether it has to be moved to that side."""
        return self.side() != side

    def move(self, side: str) -> None:
        """Bring it to that side. Raises MigrationError."""
        raise NotImplementedError

    def diff(self, side: str) -> dict[str, str]:
        """What ``move`` would change, without secrets."""
        before = "source" if side == "target" else "target"
        return {"before": f"{self.tool} {self.name}: {before}\n", "after": f"{self.tool} {self.name}: {side}\n"}

    def change(self) -> Change:
        """What is to be remembered of it."""
        return {"tool": self.tool, "id": self.name, "name": self.name, "old": "source", "new": "target"}

    def run(self, arguments: Sequence[str]) -> int:
        """Run a command; returns its exit code. Raises MigrationError ``step_failed`` where it can't be run to its end."""
        code, said = self._run(arguments)
        if code in (NOT_ENDED, NOT_RUN):
            raise self.failed(f"{arguments[0]}: {said}")
        return code

    def must_run(self, arguments: Sequence[str]) -> None:
        """Run a command that has to succeed."""
        code, said = self._run(arguments)
        if code:
            raise self.failed(f"{arguments[0]} ended with {code}{': ' + said if said else ''}")

    def failed(self, why: str) -> MigrationError:
        """What is said of a step that failed."""
        return MigrationError(f"The step {self.name!r} failed: {why.rstrip('.')}.", "step_failed", step=self.name)

    def _run(self, arguments: Sequence[str]) -> tuple[int, str]:
        code, lines = call(arguments, RUN_SECONDS)
        return code, " ".join(self.redact(line) for line in lines[-SHOWN_LINES:])


class FileStep(Step):
    """A file that says where the database is. What it was stays beside it; ``then`` is run after each change.

    A mark beside it says that ``then`` has not succeeded yet: without it, a program that was not told would seem to be done.
    """

    tool = "file"

    def __init__(self, options: Mapping[str, Any], *common: Any) -> None:
        super().__init__(*common)
        self.path = Path(options["path"])
        self.content: str = options["content"]
        self.then: Sequence[str] = options["then"] or ()
        # A link stays what it is.
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
        if side == "source":
            self._copy.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)

    def needs(self, side: str) -> bool:
        if self._mark.exists():
            return True
        if side == "target":
            if not self.path.exists():
                raise self.failed(f"there is no file {self.path}: name the one that leads to the source today")
            return self._current() != self.content
        if self._copy.exists():
            return True
        if kept_file.read(self.path) == self.content:
            raise self.failed(f"what {self.path} was before is not beside it any more ({self._copy.name})")
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
            # Somebody's work since then is kept, too.
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
    """Commands: ``to`` and ``back``; ``check`` succeeds when it leads to the target."""

    tool = "command"

    def __init__(self, options: Mapping[str, Any], *common: Any) -> None:
        super().__init__(*common)
        self.options = options

    def side(self) -> str:
        check = self.options["check"]
        return self.known if not check else "source" if self.run(check) else "target"

    def move(self, side: str) -> None:
        self.must_run(self.options["to" if side == "target" else "back"])
        if self.options["check"] and self.side() != side:
            raise self.failed(f"it was run, but its check says that it still leads to the {self.side()}")


class HttpStep(Step):
    """Requests: ``to`` and ``back``; ``check`` is answered with the text ``contains`` when it leads to the target."""

    tool = "http"

    def __init__(self, options: Mapping[str, Any], *common: Any) -> None:
        super().__init__(*common)
        self.options = options

    def side(self) -> str:
        check = self.options["check"]
        return self.known if not check else "target" if check["contains"] in self._ask(check) else "source"

    def move(self, side: str) -> None:
        self._ask(self.options["to" if side == "target" else "back"])
        if self.options["check"] and self.side() != side:
            raise self.failed(f"it was asked, but its check says that it still leads to the {self.side()}")

    def _ask(self, request: Mapping[str, Any]) -> str:
        headers = {str(name): str(value) for name, value in (request["headers"] or {}).items()}
        parts = urlsplit(request["url"])
        rest = request["url"][len(f"{parts.scheme}://{parts.netloc}") :]
        try:
            place = f"{parts.scheme}://{parts.netloc}"
            # A server may repeat what it was sent: "Bearer <token>", or the token.
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


def make(options: Mapping[str, Any], migration_id: str, known: str, secrets: Sequence[str]) -> Step:
    """The step that a module's options describe: ``name`` and one of ``file``, ``command`` and ``http``."""
    kinds: dict[str, Any] = {"file": FileStep, "command": CommandStep, "http": HttpStep}
    kind = next(kind for kind in kinds if options[kind])
    step: Step = kinds[kind](options[kind], options["name"], migration_id, known, secrets)
    return step
