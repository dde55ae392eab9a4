# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL identifiers and string constants: quoting, and the limit of 63 bytes for names."""

from __future__ import annotations

from ..common.errors import MigrationError

MAXIMUM_BYTES = 63


def quote(name: str) -> str:
    """``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """``schema.name``, both quoted."""
    return f"{quote(schema)}.{quote(name)}"


def literal(text: str) -> str:
    """``text`` as an SQL string constant that is valid with any standard_conforming_strings."""
    escaped = text.replace("'", "''")
    if "\\" in escaped:
        return "E'" + escaped.replace("\\", "\\\\") + "'"
    return f"'{escaped}'"


def check_length(name: str) -> str:
    """Return ``name`` unchanged. Raises MigrationError ``name_too_long`` when PostgreSQL would truncate it."""
    size = len(name.encode())
    if size > MAXIMUM_BYTES:
        raise MigrationError(
            f"The name {name!r} has {size} bytes, but PostgreSQL allows at most {MAXIMUM_BYTES}. Choose a shorter name.",
            "name_too_long",
            name=name,
        )
    return name
