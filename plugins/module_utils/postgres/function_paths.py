# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set a search_path on functions of the target whose code uses names without a schema."""

from __future__ import annotations

import re
from typing import Mapping

from ..common.errors import MigrationError
from .identifiers import quote
from .session import Session

_NAME = re.compile(r'\s*("(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$]*)\s*')

_FUNCTION = """
SELECT p.oid::pg_catalog.regprocedure::text AS function, p.proconfig AS settings,
       n.nspname || '.' || p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' AS identity
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE p.oid = pg_catalog.to_regprocedure(%s)
"""


def check(paths: Mapping[str, str]) -> None:
    """Raise MigrationError ``search_path`` for a path that isn't a list of schema names."""
    for function, path in paths.items():
        quoted(function, path)


def apply(session: Session, paths: Mapping[str, str]) -> dict[str, list[str]]:
    """Set each function's search_path; returns each function's settings afterwards, by its identity in the evidence.

    Raises MigrationError ``function_missing``.
    """
    found = {}
    for function, path in sorted(paths.items()):
        rows = session.rows(_FUNCTION, [function])
        if not rows:
            raise MigrationError(
                f"couch2pg_function_search_path contains {function}, but the archive has no such function. "
                "Write it as preflight does, with its schema and argument types.",
                "function_missing",
                function=function,
            )
        session.execute(f"ALTER ROUTINE {rows[0]['function']} SET search_path = {quoted(function, path)}")
        (row,) = session.rows(_FUNCTION, [function])
        found[row["identity"]] = row["settings"]
    return found


def quoted(function: str, path: str) -> str:
    """The path as a list of quoted identifiers, so that nothing else gets into the SQL statement."""
    names = []
    for part in str(path).split(","):
        name = _NAME.fullmatch(part)
        if name is None:
            raise MigrationError(
                f"The search_path {path!r} of {function} is not a list of schemas. Write it like this: public, pg_temp.",
                "search_path",
            )
        text = name.group(1)
        names.append(text if text.startswith('"') else quote(text.lower()))
    return ", ".join(names)
