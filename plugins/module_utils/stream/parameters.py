# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the job of the method stream is given."""

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
    """A snapshot that a job on the source holds. backend: the process of its session; held_since: a time of ``clock.utc_now``."""

    identifier: str
    backend: int
    held_since: str


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
