# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check found, by name. One failed check never hides the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, TypeVar

from .errors import MigrationError

OK, WARNING, FAILURE = "ok", "warning", "failure"
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Finding:
    """A check's name, how it ended, and one sentence for the operator."""

    name: str
    status: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For results and the record."""
        return {"name": self.name, "status": self.status, "message": self.message, "details": self.details}


class Findings:
    """Collects findings in the order of the checks."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def ok(self, name: str, message: str, **details: Any) -> None:
        """A check that found nothing to mend."""
        self.found.append(Finding(name, OK, message, details))

    def warning(self, name: str, message: str, **details: Any) -> None:
        """Something to know; the migration can go on."""
        self.found.append(Finding(name, WARNING, message, details))

    def failure(self, name: str, message: str, **details: Any) -> None:
        """Something that must be mended first."""
        self.found.append(Finding(name, FAILURE, message, details))

    def ask(self, name: str, check: Callable[[], Answer], say: Callable[[Answer], str]) -> Answer | None:
        """Run ``check``: its answer as an ok finding worded by ``say``, or its MigrationError as a failure and None."""
        try:
            answer = check()
        except MigrationError as error:
            self._refused(name, error)
            return None
        self.ok(name, say(answer))
        return answer

    def attempt(self, name: str, check: Callable[[], None]) -> None:
        """Run ``check``, which adds its own findings; a MigrationError out of it is a failure."""
        try:
            check()
        except MigrationError as error:
            self._refused(name, error)

    def _refused(self, name: str, error: MigrationError) -> None:
        self.found.append(Finding(name, FAILURE, error.message, dict(error.details, code=error.code)))

    @property
    def failed(self) -> bool:
        """Whether anything must be mended first."""
        return any(finding.status == FAILURE for finding in self.found)

    def as_list(self) -> list[dict[str, Any]]:
        """For results and the record."""
        return [finding.as_dict() for finding in self.found]
