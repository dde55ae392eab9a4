# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find columns of system catalogs and extension views that the operator's views read, and that another server lacks."""

from __future__ import annotations

from typing import TypedDict, cast

from .relations import EXTENSION_MEMBER, USER_SCHEMAS
from .session import Session

# Column numbers in a stored query are offset, so that system columns, whose numbers are negative, fit too.
_SHIFT_SINCE = 120000

# PostgreSQL records no dependencies on catalog columns, because it never drops them. The stored query lists what it reads.
_READ = f"""
WITH named AS (
    SELECT v.oid, n.nspname || '.' || v.relname AS view,
           regexp_matches(r.ev_action::text, ':relid (\\d+) [^{{}}]*?:selectedCols \\(b((?: \\d+)*)\\)', 'g') AS parts
    FROM pg_catalog.pg_rewrite AS r JOIN pg_catalog.pg_class AS v ON v.oid = r.ev_class
    JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
    WHERE r.rulename = '_RETURN' AND {USER_SCHEMAS} AND NOT {EXTENSION_MEMBER.format(catalog="pg_class", oid="v.oid")}
), column_read AS (
    SELECT view, parts[1]::oid AS relation, number::int + %(shift)s AS number
    FROM named, unnest(string_to_array(btrim(parts[2]), ' ')) AS number
)
SELECT DISTINCT x.view, n.nspname AS schema, c.relname AS relation, a.attname AS column, e.extname AS extension
FROM column_read AS x JOIN pg_catalog.pg_class AS c ON c.oid = x.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = x.number AND a.attnum > 0
LEFT JOIN pg_catalog.pg_depend AS d
    ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
WHERE n.nspname IN ('pg_catalog', 'information_schema') OR e.oid IS NOT NULL
ORDER BY 1, 2, 3, 4
"""

_HERE = """
SELECT n.nspname AS schema, c.relname AS relation, a.attname AS column
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relname = ANY(%s)
"""

# Columns that were removed from extension views, with the first version of the extension without them.
_GONE = {
    ("pg_stat_statements", "pg_stat_statements"): {
        **dict.fromkeys(("total_time", "min_time", "max_time", "mean_time", "stddev_time"), (1, 8)),
        **dict.fromkeys(("blk_read_time", "blk_write_time"), (1, 11)),
    },
}


class CatalogColumn(TypedDict):
    """A column of a catalog, or of an extension's relation, that one of the operator's views reads."""

    view: str
    schema: str
    relation: str
    column: str
    extension: str | None


def read(session: Session) -> list[CatalogColumn]:
    """Every catalog or extension column that the operator's views read."""
    shift = -7 if session.version >= _SHIFT_SINCE else -8
    return cast("list[CatalogColumn]", session.rows(_READ, {"shift": shift}))  # type: ignore[arg-type]


def missing(session: Session, used: list[CatalogColumn], extensions: dict[str, str]) -> list[CatalogColumn]:
    """The columns among ``used`` that the session's server lacks; ``extensions`` has the version of each extension there."""
    catalogs = [row for row in used if row["extension"] is None]
    names = sorted({row["relation"] for row in catalogs})
    here = {(row["schema"], row["relation"], row["column"]) for row in session.rows(_HERE, [names])}
    found = [row for row in catalogs if (row["schema"], row["relation"], row["column"]) not in here]
    for row in used:
        extension = row["extension"] or ""
        since = _GONE.get((extension, row["relation"]), {}).get(row["column"])
        if since is not None and number(extensions.get(extension, "")) >= since:
            found.append(row)
    return found


def number(version: str) -> tuple[int, ...]:
    """The version as numbers for comparison: ``1.10`` is newer than ``1.9``."""
    parts = []
    for part in version.replace("-", ".").split("."):
        digits = "".join(character for character in part if character.isdigit())
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)
