# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module ``matview_refresh``, and what its job ``refresh`` is given."""

from __future__ import annotations

from typing import Mapping, TypedDict

from ..common.evidence_rows import SequenceValue


class Options(TypedDict):
    """The options of the module that say how to refresh. ``Parameters`` describes them."""

    jobs: int
    maintenance_work_mem: str
    call_function: bool


class Known(TypedDict):
    """What ``examine`` finds. identity, oid: of the server and the database; they survive a rename.

    restored: whether this migration restored the database and has not promoted it yet. A populated materialized view in it was then
    refreshed by an earlier attempt. on_source: bytes of the materialized views on the source, None without data.
    sequences: their values when the rows were loaded.
    """

    identity: str
    oid: int
    restored: bool
    on_source: dict[str, int | None]
    sequences: dict[str, SequenceValue]


class Fingerprint(TypedDict):
    """What identifies the work: server and database."""

    server_identity: str
    database_oid: int


class Parameters(Fingerprint):
    """The parameters of the job. jobs: workers; maintenance_work_mem: as the setting; call_function: whether to call couch2pg's function.

    resume: ``restored`` of ``Known``; rehearsed: seconds of each view in a rehearsal.
    """

    connection: Mapping[str, object]
    jobs: int
    maintenance_work_mem: str
    call_function: bool
    resume: bool
    on_source: dict[str, int | None]
    sequences: dict[str, SequenceValue]
    rehearsed: dict[str, float]
