# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of the phases up to the promotion, by phase, as the record has them.

Times are those of ``clock.utc_now``, durations are in seconds. A record of an earlier version may lack keys.
"""

from __future__ import annotations

from typing import TypedDict, cast

from ..common.findings import FindingDocument
from .document import Record
from .promoted import Promotion
from .results import DumpResult, RefreshResult, RestoreResult, TransferResult, VerifyResult


class Method(TypedDict):
    """The method of the migration, and why it was chosen."""

    method: str
    reason: str


class PreflightResult(TypedDict, total=False):
    """The findings on both sides."""

    source: list[FindingDocument]
    target: list[FindingDocument]
    method: Method


class Results(TypedDict, total=False):
    """The result of each phase that is done."""

    preflight: PreflightResult
    dump: DumpResult
    transfer: TransferResult
    restore: RestoreResult
    refresh: RefreshResult
    verify: VerifyResult
    promote: Promotion


def results(record: Record) -> Results:
    """The results in the record."""
    done = {name: entry["result"] for name, entry in record["phases"].items() if entry["status"] == "done"}
    return cast("Results", done)
