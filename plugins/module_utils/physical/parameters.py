# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module ``pg_physical``, and what its job is given and returns."""

from __future__ import annotations

from typing import Mapping, TypedDict

from ..dump import parameters as of_dump
from ..jobs.options import JobOptions
from ..record.results import Copied, DumpResult
from .collation import SourceCollation
from .done import PointDocument
from .private_server import Login


class Options(JobOptions):
    """The options of the module. server_bin_dir: of the source's version; compression: of the backup on its way.

    lock_seconds: for how long couch2pg may wait for a moment without a write. tunnel: as for ``tunnel.parameters``.
    """

    archive: str
    bin_dir: str
    server_bin_dir: str
    lock_seconds: int
    compression: str
    collations: str
    jobs: int
    digest_method: str
    tunnel: dict[str, object] | None


class Source(of_dump.Known):
    """What ``examine`` finds on the source. settings: of ``private_server.source_settings``; version: ``server_version_num``."""

    settings: dict[str, str]
    collations: list[SourceCollation]
    major: int
    version: int


class Known(TypedDict):
    """What ``examine`` finds. identity: of the target's server; data: its data directory.

    source_bin, target_bin: the folders of the servers' programs, for the source's major version and the target's.
    """

    identity: str
    source: Source
    data: str
    source_bin: str
    target_bin: str
    target_major: int


class Fingerprint(TypedDict):
    """What identifies the work: both servers, the database, and the data directory that is replaced."""

    method: str
    server_identity: str
    database: str
    source_identity: str
    data: str


class Parameters(Fingerprint):
    """The parameters of the job. connection: of the target; source: the connection to the source, without its password.

    state_dir, archive: folders; jobs: workers; collations: ``rebuild`` or ``refuse``. tunnel: of ``tunnel.parameters``.
    """

    migration_id: str
    state_dir: str
    archive: str
    connection: Mapping[str, object]
    source: Mapping[str, object]
    from_source: Source
    source_bin: str
    target_bin: str
    target_major: int
    bin_dir: str
    jobs: int
    lock_seconds: int
    compression: str
    collations: str
    digest_method: str
    tunnel: Mapping[str, object] | None


class Result(Copied):
    """The result of the job. data_directory: the copy; work_folder: what is needed until it is promoted. login: of the server on the copy.

    reindexed: the indexes that were rebuilt. archive: the folder of the evidence; dump: the result of the phase dump.
    """

    data_directory: str
    work_folder: str
    login: Login
    restore_point: PointDocument
    reindexed: list[str]
    server_version: int
    archive: str
    dump: DumpResult
