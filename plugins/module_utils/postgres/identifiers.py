# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of PostgreSQL: quoting, and the 63 bytes they may have."""

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
    """``text`` as an SQL string constant, whatever standard_conforming_strings says."""
    escaped = text.replace("'", "''")
    if "\\" in escaped:
        return "E'" + escaped.replace("\\", "\\\\") + "'"
    return f"'{escaped}'"


def check_length(name: str) -> str:
    """``name`` unchanged, or MigrationError ``name_too_long`` when PostgreSQL would cut it."""
    size = len(name.encode())
    if size > MAXIMUM_BYTES:
        raise MigrationError(
            f"The name {name!r} has {size} bytes, and PostgreSQL keeps only {MAXIMUM_BYTES}. Choose a shorter name.",
            "name_too_long",
            name=name,
        )
    return name
