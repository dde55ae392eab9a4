# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an earlier run of a dump has left that is good: a finished archive, or one that lacks nothing but its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..archive import manifest
from ..host.files import read_json, write_json
from ..jobs.context import JobContext

FINISHED = "dump.json"


def note(partial: Path, context: JobContext) -> None:
    """Note that this archive is about to get its name."""
    write_json(_noted(context), {"manifest_sha256": manifest.sha256(partial / manifest.MANIFEST)})


def is_finished(final: Path, context: JobContext) -> bool:
    """Whether this is the archive that an earlier run of this very job made, untouched, from the same server in the same way."""
    noted = read_json(_noted(context))
    path = final / manifest.MANIFEST
    if not isinstance(noted, dict) or not path.is_file() or noted.get("manifest_sha256") != manifest.sha256(path):
        return False
    if manifest.compare(final, manifest.load(final), workers=1, hashes=False):
        return False
    return _is_of(read_json(final / manifest.EVIDENCE), context.parameters)


def evidence_of(partial: Path, context: JobContext) -> dict[str, Any] | None:
    """The evidence of an archive of this very job that is whole; it is written last, when all else is safe on the disk."""
    if not (partial / manifest.HALF_DONE).exists():
        return None
    document = read_json(partial / manifest.EVIDENCE)
    if not document or not _is_of(document, context.parameters):
        return None
    # Whoever began to remove it was perhaps interrupted.
    return document if document["dump"].get("written") == written(partial) else None


def written(partial: Path) -> dict[str, int]:
    """How much there is, without evidence and manifest, nor what was left of these when their writer was killed."""
    for path in [*partial.glob(f".{manifest.EVIDENCE}.*"), *partial.glob(f".{manifest.MANIFEST}.*")]:
        path.unlink()
    sizes = [stat.st_size for path, stat in manifest.list_files(partial) if path != manifest.EVIDENCE]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _is_of(document: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return (
        document["migration_id"] == wanted["migration_id"]
        and document["server"]["identity"] == wanted["server_identity"]
        and document["database"]["name"] == wanted["database"]
        and document["digest_method"] == wanted["digest_method"]
        and all(document["dump"][name] == wanted[name] for name in ("format", "compression"))
    )


def _noted(context: JobContext) -> Path:
    return context.folder.parent.parent / FINISHED
