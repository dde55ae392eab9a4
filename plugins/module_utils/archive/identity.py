# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether an archive belongs to a migration: by its migration_id and the SHA-256 of its manifest."""

from __future__ import annotations

from pathlib import Path

from ..common import restart
from ..common.errors import MigrationError
from ..common.evidence_document import Evidence
from ..host.files import read_json
from . import layout, manifest


def manifest_sha256(root: Path) -> str:
    """The SHA-256 of the manifest in ``root``, which identifies the archive; empty when it can't be read."""
    try:
        return manifest.sha256(root / layout.MANIFEST)
    except OSError:
        return ""


def load_own(root: Path, migration_id: str, dumped: str, again: str = "transfer") -> manifest.Manifest:
    """The manifest of the archive in ``root``, checked to belong to this migration.

    dumped: SHA-256 of the manifest of this migration's dump, from the record; empty when it is unknown.
    again: the phase that makes the right archive again, for the message: ``dump`` on the source, ``transfer`` on the target.

    Raises MigrationError ``other_archive``, ``manifest_missing`` or ``manifest_damaged``.
    """
    listing = manifest.load(root)
    owner = listing.get("migration_id", migration_id)
    if owner != migration_id:
        raise MigrationError(
            f"The archive in {root} belongs to the migration {owner!r}, not to {migration_id!r}. "
            "Move it away, or choose another couch2pg_staging_dir or couch2pg_migration_id.",
            "other_archive",
            path=str(root),
        )
    check_dumped(str(root), manifest_sha256(root), dumped, again)
    return listing


def pg_dump_major(root: Path, listing: manifest.Manifest) -> int:
    """The major version of the pg_dump that made the archive in ``root``.

    Raises MigrationError ``no_evidence`` for an archive of another tool, whose manifest was created later.
    """
    if "options" not in listing:
        raise MigrationError(
            f"The archive in {root} was not dumped by this collection, so it has no evidence that a restore could be compared with. "
            "Dump the database with the role dump (module pg_dump), or restore this archive with pg_restore yourself.",
            "no_evidence",
            path=str(root),
        )
    return int(listing["options"]["pg_dump_major"])


def check_dumped(place: str, found: str, dumped: str, again: str) -> None:
    """Raise MigrationError ``other_archive`` when the SHA-256 ``found`` isn't that of the manifest that was dumped.

    place: the folder of the archive, for the message. dumped, again: as in ``load_own``.
    """
    if dumped and found != dumped:
        raise MigrationError(
            f"The archive in {place} is not the one that this migration dumped: the SHA-256 of its manifest is {found[:16]}..., "
            f"the record has {dumped[:16]}.... Nothing was changed. Put the right archive back, or {again} again: {restart.command(again)}",
            "other_archive",
            path=place,
            found=found,
            recorded=dumped,
        )


def read_evidence(root: Path, listing: manifest.Manifest) -> Evidence:
    """The evidence in ``root``, checked against the manifest ``listing``.

    Raises MigrationError ``archive_differs``.
    """
    expected = [entry["sha256"] for entry in listing["files"] if entry["path"] == layout.EVIDENCE]
    path = root / layout.EVIDENCE
    if not path.is_file() or expected != [manifest.sha256(path)]:
        manifest.raise_if_different(root, listing, manifest.Differences(content=[layout.EVIDENCE]))
    evidence: Evidence = read_json(path)
    return evidence
