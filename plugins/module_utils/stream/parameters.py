# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module ``pg_stream``, and what the jobs of the method stream are given and find."""

from __future__ import annotations

from typing import Mapping, TypedDict

from ..restore import parameters as of_restore


class Source(TypedDict):
    """What ``examine`` finds on the source's server. compression: of the archive without the large tables."""

    identity: str
    pg_dump_major: int
    compression: str
    digest_method: str


class Known(of_restore.Known):
    """What ``examine`` finds on both sides."""

    source: Source


class Snapshot(TypedDict):
    """A snapshot that a job on the source holds. backend: the process of its session."""

    identifier: str
    backend: int


class Options(of_restore.Options):
    """The options of the module, besides those of a restore. leave_out: as for ``LeaveOut.of``; snapshot: None to take one.

    tunnel: as for ``tunnel.parameters``.
    """

    digest_method: str
    leave_out: dict[str, list[str]] | None
    snapshot: Snapshot | None
    tunnel: dict[str, object] | None


class Fingerprint(of_restore.Fingerprint):
    """What identifies the work. leave_out: of ``LeaveOut.as_dict``."""

    source_database: str
    digest_method: str
    leave_out: dict[str, list[str]]


class Parameters(of_restore.Parameters, Fingerprint):
    """The parameters of the job. source: the connection, without its password; snapshot: None if the job takes one itself.

    format: of the archive; tunnel: of ``tunnel.parameters``.
    """

    source: Mapping[str, object]
    source_identity: str
    format: str
    compression: str
    pg_dump_major: int
    snapshot: Snapshot | None
    tunnel: Mapping[str, object] | None
