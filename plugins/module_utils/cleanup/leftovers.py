# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List what migrations have left on a host, with sizes. Nothing is removed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypedDict

from ..archive import layout
from ..archive.scratch import MARK_START
from ..common.progress_line import amount
from ..couch2pg.deployment.bundle import NAME as BUNDLE
from ..couch2pg.settings import EFFECTIVE
from ..host.files import expand, unfinished
from ..postgres.database import database_size, databases
from ..postgres.session import Session

# In the folder of a migration's state; each holds couch2pg's settings.
CREDENTIAL_FILES = (EFFECTIVE, BUNDLE)
# Suffixes of database names that this collection assigns.
_ENDINGS = r"_(incoming|rehearsal.*|(replaced|rolled_back|dropping)_\d{8}T\d{6})"


class KeptDatabase(TypedDict):
    """A database, with its size in bytes."""

    database: str
    bytes: int


class LeftArchive(TypedDict):
    """The folder of an archive, with its size in bytes."""

    archive: str
    bytes: int
    complete: bool


class Leftovers(TypedDict):
    """What migrations have left on a host. credential_files: paths."""

    databases: list[KeptDatabase]
    archives: list[LeftArchive]
    credential_files: list[str]


def kept_databases(session: Session, name: str) -> list[KeptDatabase]:
    """Databases with a name that a migration of the database ``name`` assigns, and scratch databases that a killed run left."""
    ours = re.compile(re.escape(name) + _ENDINGS)
    return [
        {"database": row["name"], "bytes": database_size(session, row["name"])}
        for row in databases(session)
        if ours.fullmatch(row["name"]) or (row["comment"] or "").startswith(MARK_START)
    ]


def credential_files(state_dir: str) -> list[str]:
    """Files with couch2pg's settings, and so with credentials, of any migration in the state folder."""
    root = expand(state_dir)
    states = [path for path in root.glob("*") if path.is_dir()]
    found = [
        path for state in states for name in CREDENTIAL_FILES for path in (state / name, *unfinished(state / name))
    ]
    return sorted(str(path) for path in found if path.exists())


def lines(found: Leftovers) -> list[str]:
    """What was found, as lines for a person."""
    shown = [f"database {row['database']}, {amount(row['bytes'], 'bytes')}" for row in found["databases"]]
    shown += [f"archive {row['archive']}, {amount(row['bytes'], 'bytes')}" for row in found["archives"]]
    return shown + [f"settings with credentials {path}" for path in found["credential_files"]]


def archives(staging_dir: str) -> list[LeftArchive]:
    """Folders below the staging folder that contain a complete or incomplete archive."""
    root = expand(staging_dir)
    if not root.is_dir():
        return []
    return [
        {"archive": str(folder), "bytes": _size(folder), "complete": (folder / layout.MANIFEST).exists()}
        for folder in sorted(root.iterdir())
        if any((folder / name).exists() for name in (layout.MANIFEST, layout.HALF_DONE))
    ]


def _size(root: Path) -> int:
    return sum(Path(folder, name).lstat().st_size for folder, _subfolders, names in os.walk(root) for name in names)
