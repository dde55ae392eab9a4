# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The most time-consuming queries in pg_stat_statements: candidates for the comparison of dashboards."""

from __future__ import annotations

import re
from typing import TypedDict

from ..common.errors import MigrationError
from ..postgres.identifiers import qualified
from ..postgres.session import Session

MEAN_SINCE = (1, 8)
# The extension exists, but the server hasn't loaded its library.
NOT_LOADED = "55000"
# pg_stat_statements replaces constants by $1, but misses some, which are masked here.
_CONSTANT = re.compile(r"(?i)E?'(?:[^'\\]|\\.|'')*(?:'|$)|\$(\w*)\$.*?(?:\$\1\$|$)|(?<![\w$.])\d[\w.]*", re.DOTALL)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?(?:\*/|$)", re.DOTALL)


class Candidate(TypedDict):
    """A query that a dashboard may have run: its text without constants, how often it ran, and its mean time."""

    role: str
    query: str
    calls: int
    milliseconds: float


def collect(session: Session, limit: int) -> list[Candidate] | None:
    """The most time-consuming read-only queries of this database; None without the extension, or when the server hasn't loaded it.

    Their text has no constants: replace ``$1`` by values before running them.
    """
    found = session.rows(
        "SELECT n.nspname AS schema, e.extversion AS version FROM pg_catalog.pg_extension AS e "
        "JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'"
    )
    if not found:
        return None
    version = tuple(int(part) for part in found[0]["version"].split("."))
    suffix = "exec_time" if version >= MEAN_SINCE else "time"
    # A per cent sign in a statement with parameters is written twice.
    view = qualified(found[0]["schema"], "pg_stat_statements").replace("%", "%%")
    statement = (
        f"SELECT pg_catalog.pg_get_userbyid(s.userid) AS role, s.query AS text, s.calls AS calls, "
        f"s.mean_{suffix} AS milliseconds FROM {view} AS s "
        "WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) "
        r"AND s.query ~* '^\s*(select|with)\M' AND s.query !~* '\m(pg_catalog|pg_stat_|information_schema)' "
        f"ORDER BY s.total_{suffix} DESC LIMIT %s"
    )
    try:
        rows = session.rows(statement, [limit])
    except MigrationError as error:
        if error.details.get("sqlstate") != NOT_LOADED:
            raise
        return None
    return [
        {
            "role": row["role"],
            "query": _without_constants(row["text"]),
            "calls": row["calls"],
            "milliseconds": round(row["milliseconds"], 1),
        }
        for row in rows
    ]


def _without_constants(text: str) -> str:
    return _CONSTANT.sub("?", _COMMENT.sub(" ", text)).strip()
