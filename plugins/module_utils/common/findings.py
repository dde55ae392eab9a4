# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of checks. A check that fails does not keep the next one from running."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Callable, Sequence, TypedDict, TypeVar

from .errors import MigrationError

OK, WARNING, FAILURE = "ok", "warning", "failure"
Answer = TypeVar("Answer")


class FindingDocument(TypedDict):
    """A finding as JSON, in module results and the record."""

    name: str
    status: str
    message: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: ``status`` is OK, WARNING or FAILURE; ``message`` is for the operator."""

    name: str
    status: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> FindingDocument:
        """The finding as JSON types."""
        return {"name": self.name, "status": self.status, "message": self.message, "details": self.details}


class Findings:
    """Collects findings in the order of the checks."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def ok(self, name: str, message: str, **details: Any) -> None:
        """Add the finding of a check that passed."""
        self.found.append(Finding(name, OK, message, details))

    def warning(self, name: str, message: str, **details: Any) -> None:
        """Add a finding that the operator should know; the migration can continue."""
        self.found.append(Finding(name, WARNING, message, details))

    def failure(self, name: str, message: str, **details: Any) -> None:
        """Add a finding that the operator must fix before the migration can continue."""
        self.found.append(Finding(name, FAILURE, message, details))

    def ask(self, name: str, check: Callable[[], Answer], say: Callable[[Answer], str]) -> Answer | None:
        """Run ``check`` and return its answer, with an OK finding whose message is ``say(answer)``.

        A MigrationError becomes a failure; the answer is then None.
        """
        try:
            answer = check()
        except MigrationError as error:
            self._add_error(name, error)
            return None
        self.ok(name, say(answer))
        return answer

    def attempt(self, name: str, check: Callable[[], None]) -> None:
        """Run ``check``, which adds its own findings; a MigrationError that it raises becomes a failure."""
        try:
            check()
        except MigrationError as error:
            self._add_error(name, error)

    def _add_error(self, name: str, error: MigrationError) -> None:
        self.found.append(Finding(name, FAILURE, error.message, dict(error.details, code=error.code)))

    def soften(self, codes: Sequence[str], why: str) -> None:
        """Turn failures with these codes into warnings that end with the sentence ``why``."""
        self.found = [
            replace(finding, status=WARNING, message=f"{finding.message} {why}")
            if finding.status == FAILURE and finding.details.get("code", "") in codes
            else finding
            for finding in self.found
        ]

    @property
    def failed(self) -> bool:
        """Whether any finding is a failure."""
        return any(finding.status == FAILURE for finding in self.found)

    def as_list(self) -> list[FindingDocument]:
        """The findings as JSON types, in the order of the checks."""
        return [finding.as_dict() for finding in self.found]
