# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exception that the core raises for every failure that an operator can act on."""

from __future__ import annotations

from typing import Any, TypedDict


class ErrorDocument(TypedDict):
    """A MigrationError as JSON, in a job's ``result.json``."""

    message: str
    code: str
    details: dict[str, Any]


class MigrationError(Exception):
    """A failure that an operator can understand and act on.

    message: what is wrong and where, then what to do.
    code: a short stable name for programs, such as ``unreachable`` or ``disk_full``.
    details: the facts behind the message, as JSON types; never a secret.
    """

    def __init__(self, message: str, code: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details

    def as_dict(self) -> ErrorDocument:
        """The error as JSON types, for a job's result."""
        return {"message": self.message, "code": self.code, "details": self.details}

    @classmethod
    def from_system(cls, error: OSError) -> MigrationError:
        """Convert an error of the operating system, such as a full disk."""
        where = f": {error.filename}" if error.filename else ""
        return cls(
            f"The operating system reports an error: {error.strerror or error}{where}. Fix it, then run again.",
            "system",
            errno=error.errno,
        )

    @classmethod
    def from_dict(cls, data: ErrorDocument) -> MigrationError:
        """Rebuild the error from the result of ``as_dict``."""
        return cls(data["message"], data["code"], **data.get("details", {}))
