# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of all phases, as the report reads them from the record. A record of an earlier version may lack keys."""

from __future__ import annotations

from typing import Any, Mapping, TypedDict, cast

from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.changes import Change
from ansible_collections.cht.couch2pg.plugins.module_utils.cutover.dashboard_compare import ComparedQuery
from ansible_collections.cht.couch2pg.plugins.module_utils.record import by_phase
from ansible_collections.cht.couch2pg.plugins.module_utils.record.document import Record
from ansible_collections.cht.couch2pg.plugins.module_utils.record.rolled_back import Reversal
from ansible_collections.cht.couch2pg.plugins.module_utils.rehearsal.figures import RehearseResult


class Login(TypedDict, total=False):
    """The login of couch2pg in PostgreSQL, without its password."""

    user: str


class Health(TypedDict):
    """What couch2pg did while it was watched."""

    runs_completed: int
    changes: int


class Reconciliation(TypedDict, total=False):
    """The documents of both sides. documents_compared: how many, by table."""

    documents_compared: dict[str, int] | None


class HandoverResult(TypedDict, total=False):
    """The result of handover: the role builds it from the results of its modules; the report shows all of it."""

    postgres: Login
    health: Health
    reconciliation: Reconciliation


class DashboardsResult(TypedDict, total=False):
    """The result of dashboards: each query on both sides."""

    passed: bool
    queries: list[ComparedQuery]


class CutoverResult(TypedDict, total=False):
    """The result of cutover. side: where the dashboards lead, ``source`` or ``target``."""

    side: str
    changes: list[Change]


class Results(by_phase.Results, total=False):
    """The result of each phase that is done. cleanup: what each step did, by the step's name."""

    handover: HandoverResult
    dashboards: DashboardsResult
    cutover: CutoverResult
    rollback: Reversal
    cleanup: Mapping[str, Any]
    rehearse: RehearseResult


def results(record: Record) -> Results:
    """The results in the record."""
    return cast("Results", by_phase.results(record))
