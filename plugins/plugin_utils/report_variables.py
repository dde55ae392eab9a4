# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the report's templates. Every value is text that may be shown, except where another type is given."""

from __future__ import annotations

from typing import TypedDict

from .report_todo import Group


class Updated(TypedDict):
    """When the record was written last, for the attribute ``datetime`` and for readers."""

    iso: str
    text: str


class DifferenceRow(TypedDict):
    """A difference between source and target."""

    kind: str
    object: str
    problem: str
    source: str
    target: str


class FailedMatview(TypedDict):
    """A materialized view that could not be refreshed."""

    matview: str
    error: str
    advice: str


class Verdict(TypedDict):
    """A word and a sentence. After a failure also the error, the next steps, the log of the job, and what differs.

    state: ``running``, ``done``, ``attention`` or ``stopped``.
    """

    state: str
    word: str
    sentence: str
    error: str
    steps: list[str]
    log: str
    commands: list[str]
    differences: list[DifferenceRow]
    matviews: list[FailedMatview]


class Server(TypedDict):
    """The host of one side, and its version of PostgreSQL."""

    side: str
    host: str
    version: str


class EvidenceLine(TypedDict):
    """A line of the proof in short. state: ``ok``, ``warn`` or ``bad``."""

    state: str
    what: str
    detail: str


class TimelineRow(TypedDict):
    """A phase. left, width: the place of its bar in percent; share: its width as text."""

    phase: str
    what: str
    status: str
    host: str
    ended: str
    seconds: float
    duration: str
    left: float
    width: float
    share: str


class RehearsalRow(TypedDict):
    """A rehearsal. durations: of each phase in ``Rehearsals.phases``."""

    begun: str
    outcome: str
    host: str
    rows: str
    durations: list[str]
    duration: str


class Rehearsals(TypedDict):
    """All rehearsals of the migration, and sentences about them."""

    phases: list[str]
    rows: list[RehearsalRow]
    conclusions: list[str]


class SizeRow(TypedDict):
    """A size. ratio: to the size of the source's database; width: of its bar, in percent."""

    label: str
    size: str
    bytes: str
    ratio: str
    width: float
    note: str


class TableRow(TypedDict):
    """A table. state: ``same``, ``differs`` or ``not yet``; rows, digests: of the source and the target."""

    table: str
    state: str
    size: str
    rows: list[str]
    digests: list[str]


class LeftOut(TypedDict):
    """A table that was not copied."""

    table: str
    reason: str


class ObjectCount(TypedDict):
    """How many objects of a kind were compared."""

    kind: str
    count: str


class ArchivedFile(TypedDict):
    """A file of the archive."""

    path: str
    bytes: str
    sha256: str


class Archive(TypedDict):
    """The archive. left_out: how many files ``files`` does not list; checked: whether the target has all of it."""

    folder: str
    removed: bool
    host: str
    bytes: str
    count: str
    files: list[ArchivedFile]
    left_out: int
    manifest: str
    checked: bool


class MatviewRow(TypedDict):
    """A materialized view that was refreshed."""

    matview: str
    source_rows: str
    rows: str
    duration: str


class FindingRow(TypedDict):
    """A finding of preflight on one side. status: ``ok``, ``warning`` or ``failure``."""

    side: str
    status: str
    name: str
    message: str


class SyncPlace(TypedDict):
    """How far couch2pg had come in a database of CouchDB."""

    source: str
    seq: str


class Fact(TypedDict):
    """A value of a result whose structure is unknown."""

    what: str
    value: str


class ChangedConnection(TypedDict):
    """A connection of a dashboard, with its old and new address."""

    tool: str
    name: str
    old: str
    new: str


class Cutover(TypedDict):
    """Where the dashboards lead, ``source`` or ``target``, and their connections."""

    side: str
    changes: list[ChangedConnection]


class DashboardRow(TypedDict):
    """A dashboard's query. rows, times: on the source and the target; said: problems and advice."""

    name: str
    status: str
    rows: list[str]
    times: list[str]
    age: str
    said: list[str]


class HistoryRow(TypedDict):
    """One run of a phase."""

    at: str
    phase: str
    status: str
    host: str


class Variables(TypedDict):
    """The variables of both templates."""

    migration: str
    database: str
    updated: Updated
    created: str
    record_place: str
    verdict: Verdict
    servers: list[Server]
    evidence: list[EvidenceLine]
    todo: list[Group]
    timeline: list[TimelineRow]
    estimate: str
    clean_install: str
    rehearsals: Rehearsals | None
    sizes: list[SizeRow]
    tables: list[TableRow]
    left_out: list[LeftOut]
    objects: list[ObjectCount]
    accepted: list[DifferenceRow]
    information: list[DifferenceRow]
    archive: Archive | None
    matviews: list[MatviewRow]
    function: str
    findings: list[FindingRow]
    places: list[SyncPlace]
    couch2pg: list[Fact]
    cutover: Cutover | None
    dashboards: list[DashboardRow]
    history: list[HistoryRow]
