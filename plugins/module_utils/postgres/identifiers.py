# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL identifiers and string constants: quoting, and the limit of 63 bytes for names."""

from __future__ import annotations

import re

from ..common.errors import MigrationError

MAXIMUM_BYTES = 63


def quote(name: str) -> str:
    """``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """``schema.name``, both quoted."""
    return f"{quote(schema)}.{quote(name)}"


def shown(schema: str, name: str) -> str:
    """``schema.name`` for messages and as a key in documents.

    Only a part with a dot is quoted, so that the tables ``a."b.c"`` and ``"a.b".c`` are told apart.
    """
    return ".".join(quote(part) if "." in part else part for part in (schema, name))


def shown_as_sql(text: str) -> str:
    """Convert the result of ``shown`` to a name for SQL statements."""
    parts = re.findall(r'"(?:[^"]|"")+"|[^.]+', text)
    return ".".join(part if part.startswith('"') else quote(part) for part in parts)


def sql_shown(schema: str, name: str) -> str:
    """An SQL expression that gives the result of ``shown`` for the values of two columns."""
    parts = [
        f"CASE WHEN {part} ~ '[.]' THEN pg_catalog.quote_ident({part}) ELSE {part}::pg_catalog.text END"
        for part in (schema, name)
    ]
    return " || '.' || ".join(parts)


def literal(text: str) -> str:
    """``text`` as an SQL string constant that is valid with any standard_conforming_strings."""
    escaped = text.replace("'", "''")
    if "\\" in escaped:
        return "E'" + escaped.replace("\\", "\\\\") + "'"
    return f"'{escaped}'"


def with_suffix(name: str, suffix: str) -> str:
    """``name`` and ``suffix``; the end of ``name`` is cut where both are longer than PostgreSQL allows."""
    room = MAXIMUM_BYTES - len(suffix.encode())
    return name.encode()[:room].decode(errors="ignore") + suffix


def check_length(name: str, remedy: str = "Choose a shorter name.") -> str:
    """Return ``name`` unchanged. Raises MigrationError ``name_too_long`` when PostgreSQL would truncate it."""
    size = len(name.encode())
    if size > MAXIMUM_BYTES:
        raise MigrationError(
            f"The name {name!r} has {size} bytes, but PostgreSQL allows at most {MAXIMUM_BYTES}. {remedy}",
            "name_too_long",
            name=name,
        )
    return name
