# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of rehearsals, as JSON: in results, in preflight's finding, and in the record. Durations are in seconds."""

from __future__ import annotations

from typing import Mapping, TypedDict, cast

from ..common.findings import FindingDocument
from ..record import by_phase
from ..record.document import Record


class Summary(TypedDict):
    """The key figures of one rehearsal.

    outcome: ``done``, ``abandoned`` or ``unfinished``; begun_at: a time of ``clock.utc_now``; host: where it was restored.
    interrupted: whether the durations are incomplete; phases: duration of each. rows, database_bytes: of the source; None before the dump,
    as archive_bytes is.
    """

    migration_id: str
    method: str
    outcome: str
    failed_in: str | None
    begun_at: str
    host: str | None
    interrupted: bool
    phases: dict[str, float]
    seconds: float
    rows: int | None
    database_bytes: int | None
    archive_bytes: int | None


class ChangedTable(TypedDict):
    """A table whose rows or digest changed; None where there was no such table."""

    table: str
    rows_before: int | None
    rows: int | None


# What changed on the source since the rehearsal ``with``, which had ``tables`` tables. digests_compared: both have the same method.
Comparison = TypedDict(
    "Comparison",
    {"with": str, "tables": int, "same": bool, "digests_compared": bool, "changed": "list[ChangedTable]"},
)


class Forecast(TypedDict):
    """How long the migration will take: as the last rehearsal, and at least and at most as the last ``rehearsals`` ones.

    dominant: the longest phase, with its share of the whole.
    """

    seconds: float
    least: float
    most: float
    rehearsals: int
    method: str
    interrupted: bool
    dominant: str
    share: float


class Next(TypedDict):
    """The next rehearsal: a new one, or the unfinished one, with its method and how far it came.

    handover_begun: couch2pg was started on a copy that this rehearsal made, and may have left its settings.
    """

    migration_id: str
    resumed: bool
    method: str
    verified: bool
    handover_begun: bool
    handed_over: bool


class Overview(TypedDict):
    """Everything about the rehearsals of a migration. problems: unreadable records; lines: one for each rehearsal."""

    summaries: list[Summary]
    next: Next
    comparison: Comparison | None
    forecast: Forecast | None
    finding: FindingDocument
    problems: list[str]
    lines: list[str]
    conclusions: list[str]


class RehearseResult(TypedDict, total=False):
    """How a rehearsal ended, as its record has it. database: the copy, ``kept`` or dropped; rehearsals: this one is the last.

    lines: one for each rehearsal; conclusions: sentences.
    """

    outcome: str
    database: str
    kept: bool
    rehearsals: list[Summary]
    comparison: Comparison | None
    forecast: Forecast | None
    lines: list[str]
    conclusions: list[str]


class Results(by_phase.Results, total=False):
    """The result of each phase of a rehearsal that is done."""

    handover: Mapping[str, object]
    rehearse: RehearseResult


def results(rehearsal: Record) -> Results:
    """The results in the record of a rehearsal."""
    return cast("Results", by_phase.results(rehearsal))
