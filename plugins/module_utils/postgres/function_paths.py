# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A search_path for functions that name something without its schema, on the target only."""

from __future__ import annotations

import re
from typing import Any, Mapping

from ..common.errors import MigrationError
from .connection import Session
from .identifiers import quote

_NAME = re.compile(r'\s*("(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$]*)\s*')

_FUNCTION = """
SELECT p.oid::pg_catalog.regprocedure::text AS function, p.proconfig AS settings,
       n.nspname || '.' || p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' AS identity
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE p.oid = pg_catalog.to_regprocedure(%s)
"""


def check(paths: Mapping[str, str]) -> None:
    """Raise MigrationError ``search_path`` for a path that isn't a list of names."""
    for function, path in paths.items():
        quoted(function, path)


def apply(session: Session, paths: Mapping[str, str]) -> dict[str, list[str]]:
    """Set each function's search_path; returns the settings that each has then, by its name in the evidence."""
    found = {}
    for function, path in sorted(paths.items()):
        rows = session.rows(_FUNCTION, [function])
        if not rows:
            raise MigrationError(
                f"function_search_path names {function}, and the archive has no such function. "
                "Write it as preflight does, with its schema and the types of its arguments.",
                "function_missing",
                function=function,
            )
        session.execute(f"ALTER ROUTINE {rows[0]['function']} SET search_path = {quoted(function, path)}")
        (row,) = session.rows(_FUNCTION, [function])
        found[row["identity"]] = row["settings"]
    return found


def expected(schema: dict[str, dict[str, Any]], settings: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """The source's schema with the settings that ``apply`` gave to functions."""
    if not settings:
        return schema
    functions = {
        identity: dict(properties, settings=settings[identity]) if identity in settings else properties
        for identity, properties in schema["functions"].items()
    }
    return dict(schema, functions=functions)


def quoted(function: str, path: str) -> str:
    """The path as a list of quoted names: nothing else gets into the statement."""
    names = []
    for part in str(path).split(","):
        name = _NAME.fullmatch(part)
        if name is None:
            raise MigrationError(
                f"The search_path {path!r} of {function} is not a list of schemas. Write it as public, pg_temp.",
                "search_path",
            )
        text = name.group(1)
        names.append(text if text.startswith('"') else quote(text.lower()))
    return ", ".join(names)
