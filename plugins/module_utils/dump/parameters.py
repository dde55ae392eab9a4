# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module ``pg_dump``, and what its job ``dump`` is given."""

from __future__ import annotations

from typing import Mapping, TypedDict

from ..jobs.options import JobOptions


class Options(JobOptions):
    """The options of the module that the job depends on. leave_out: as for ``LeaveOut.of``; record: as the option of that name."""

    staging_dir: str
    format: str
    bin_dir: str
    jobs: int
    leave_out: dict[str, list[str]] | None
    record: dict[str, object] | None


class Known(TypedDict):
    """What ``examine`` finds: the source's server, the version of pg_dump, and what the choices ``auto`` mean there."""

    identity: str
    pg_dump_major: int
    compression: str
    digest_method: str


class Fingerprint(TypedDict):
    """What identifies the work. leave_out: of ``LeaveOut.as_dict``."""

    server_identity: str
    database: str
    staging_dir: str
    format: str
    compression: str
    digest_method: str
    leave_out: dict[str, list[str]]


class Parameters(Fingerprint):
    """The parameters of the job. connection: of the source; jobs: workers; alone: whether the role dump was used alone."""

    migration_id: str
    connection: Mapping[str, object]
    bin_dir: str
    jobs: int
    pg_dump_major: int
    alone: bool
