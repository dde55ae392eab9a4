# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules ``transfer_info`` and ``archive_transfer``, and what the jobs of the transfer are given."""

from __future__ import annotations

from typing import TypedDict

from ..jobs.options import JobOptions
from .partial_archive import SourceArchive


class Options(JobOptions):
    """The options of both modules. archive: the folder on the target; source: what is known of the source's archive.

    way: ``auto`` (only of ``transfer_info``), ``direct``, ``relay`` or ``local``; address, port: of the source's sshd.
    full: read every file again, even one that is unchanged since it was checked.
    """

    archive: str
    source: SourceArchive
    way: str
    address: str
    port: int
    full: bool


class Login(TypedDict):
    """How rsync reaches the source's sshd, for ``access.begin``. silence: seconds without data after which the connection is lost."""

    address: str
    port: int
    user: str
    host_keys: list[str]
    obstacles: list[str]
    silence: int


class TransferOptions(Options, Login):
    """The options of ``archive_transfer``. reason: why this way was chosen; jobs: workers."""

    reason: str
    jobs: int


class Fingerprint(TypedDict):
    """What identifies the work: the archive, and the way."""

    archive: str
    manifest_sha256: str
    way: str


class Parameters(Fingerprint, Login):
    """The parameters of the job ``transfer``. state: the migration's folder; the others are options."""

    source: SourceArchive
    state: str
    jobs: int
    reason: str
    full: bool
    migration_id: str


class EarlyParameters(Login):
    """The parameters of the job ``early_transfer``. compressible: as in ``SourceArchive``."""

    archive: str
    compressible: bool


def login(options: Login) -> Login:
    """The login among the options."""
    return {
        "address": options["address"],
        "port": options["port"],
        "user": options["user"],
        "host_keys": options["host_keys"],
        "obstacles": options["obstacles"],
        "silence": options["silence"],
    }
