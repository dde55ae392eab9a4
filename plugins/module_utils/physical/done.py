# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the steps of a copy found, as ``steps.json`` has it."""

from __future__ import annotations

from typing import List, TypedDict


class BackupDone(TypedDict):
    """A complete base backup. end: the position in the WAL; first: the file of the WAL that has it; at: a time of ``clock.utc_now``."""

    end: str
    first: str
    at: str


class PointDocument(TypedDict):
    """A ``moment.Point``."""

    name: str
    lsn: str
    shows: str
    running: list[int]


class ClusterProperties(TypedDict):
    """What all databases of a server have in common, as its ``template0`` has it, and options of initdb.

    provider: of the locale, None for a server before version 15; rules: additional rules of ICU. segment_bytes: size of a file of the WAL.
    """

    encoding: str
    lc_collate: str
    lc_ctype: str
    provider: str | None
    locale: str | None
    rules: str | None
    checksums: bool
    segment_bytes: int


# The steps that are done, with what they found, in the order in which they begin.
# socket: the temporary folder of the private server's socket, where it needs one. verified: the backup's files have their checksums.
# armed: the copy is configured for its recovery. recovered: the properties of the copy. reindexed, checked: names of indexes that were
# rebuilt, and of those that are sound. final: only the private server's start is left.
Done = TypedDict(
    "Done",
    {
        "socket": str,
        "begun": bool,
        "backup": BackupDone,
        "verified": bool,
        "point": PointDocument,
        "armed": bool,
        "recovered": ClusterProperties,
        "upgraded": bool,
        "analysis begun": bool,
        "analyzed": bool,
        "reindexed": List[str],
        "checked": List[str],
        "final": bool,
    },
    total=False,
)


class Of(TypedDict):
    """Which copy it is."""

    migration_id: str
    source_identity: str
    database: str


class StoredSteps(TypedDict):
    """The content of ``steps.json``."""

    of: Of
    done: Done
