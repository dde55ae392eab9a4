# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The error of a verification that found differences."""

from __future__ import annotations

import json

from ..common import restart
from ..common.counted import counted
from ..common.difference import Difference, SchemaDifference
from ..common.errors import MigrationError
from ..postgres.identifiers import shown_as_sql
from ..schema.differences import EXTRA, sentence

# How many differences are listed in the error, and how much of each side.
SHOWN = 50
SHOWN_CHARACTERS = 4000


def raise_if_different(database: str, rows: list[Difference], schema: list[SchemaDifference]) -> None:
    """Raise MigrationError ``not_the_same`` if there is a difference."""
    differences = [*rows, *schema]
    if not differences:
        return
    words = "; ".join(sentence(difference) for difference in differences[:3])
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    remedy = _remedy(database, rows)
    if not rows and len(schema) <= SHOWN:
        names = json.dumps([difference["name"] for difference in schema], ensure_ascii=False)
        remedy += (
            ". To keep the target as it is, accept each difference by its name, which ends with a code for what differs: set "
            f"couch2pg_accept_differences: {names}"
        )
    raise MigrationError(
        f"The restored database {database!r} differs from the source: {words}{more}. It was not promoted. "
        f"The report lists {'all differences' if len(differences) <= SHOWN else 'the first ' + counted(SHOWN, 'difference')}. {remedy}",
        "not_the_same",
        count=len(differences),
        differences=[shown(difference) for difference in differences[:SHOWN]],
    )


def _remedy(database: str, rows: list[Difference]) -> str:
    """What to do about the differences; the last part of a message."""
    of_rows = [found for found in rows if found["kind"] in ("rows", "large objects")]
    if not of_rows:
        return f"Fix the cause on the target, then run again. After a change on the source, dump again: {restart.command('dump')}"
    extra = [shown_as_sql(found["object"]) for found in of_rows if found["problem"] == EXTRA]
    if len(extra) == len(of_rows) <= SHOWN:
        # Nothing that the source has is missing.
        these = "this table" if len(extra) == 1 else "these tables"
        return (
            f"Find out what created {these}. If nothing needs the rows, run on the target, in {database!r}: "
            f"DROP TABLE {', '.join(extra)}; Then run the same command again."
        )
    # Whatever happened to the rows on the target, the archive or the source still has them.
    return (
        "End what writes to the database on the target, if anything does, and load all rows again: "
        f"{restart.command('restore')}"
    )


def shown(difference: Difference) -> Difference:
    """A difference for results. Its texts are shortened, because it may be between two large functions."""
    found = difference.copy()
    found["source"], found["target"] = _shortened(difference["source"]), _shortened(difference["target"])
    return found


def _shortened(side: object) -> object:
    return side[:SHOWN_CHARACTERS] if isinstance(side, str) else side
