# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one family of errors that the core raises."""

from __future__ import annotations

from typing import Any


class MigrationError(Exception):
    """Something an operator can understand and act on.

    message: one sentence: what is wrong, where, and what to do.
    code: a short stable name for programs (``unreachable``, ``disk_full`` ...).
    details: JSON-able facts behind the sentence; never a secret.
    """

    def __init__(self, message: str, code: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """The error as it is stored in a job's result."""
        return {"message": self.message, "code": self.code, "details": self.details}

    @classmethod
    def from_system(cls, error: OSError) -> MigrationError:
        """What the operating system refused: a full disk, for example."""
        where = f": {error.filename}" if error.filename else ""
        return cls(
            f"The operating system refused: {error.strerror or error}{where}. Mend that, then run again.",
            "system",
            errno=error.errno,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MigrationError:
        """The error that ``as_dict`` described."""
        return cls(data["message"], data["code"], **data.get("details", {}))
