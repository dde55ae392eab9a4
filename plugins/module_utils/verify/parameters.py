# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module ``verify``, and what its job is given."""

from __future__ import annotations

from typing import Mapping, TypedDict

from ..jobs.options import JobOptions


class Options(JobOptions):
    """The options of the module that say what to compare. ``Parameters`` describes them."""

    archive: str
    bin_dir: str
    accept_differences: list[str]
    recount: bool
    jobs: int


class Known(TypedDict):
    """What ``examine`` finds: server and database, and the SHA-256 of the manifest of this migration's archive."""

    identity: str
    oid: int
    manifest_sha256: str


class Fingerprint(TypedDict):
    """What identifies the work: ``Known`` under the names that jobs use."""

    server_identity: str
    database_oid: int
    manifest_sha256: str


class Parameters(Fingerprint):
    """The parameters of the job. archive, state: folders; restore_folder: of the job ``restore``; connection: of the target's database.

    accept_differences: names of differences; recount: read all tables again; jobs: workers.
    """

    migration_id: str
    archive: str
    connection: Mapping[str, object]
    state: str
    restore_folder: str
    bin_dir: str
    accept_differences: list[str]
    recount: bool
    jobs: int
