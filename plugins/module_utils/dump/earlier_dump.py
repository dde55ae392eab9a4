# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognise the usable results of an interrupted dump: a finished archive, or one that only lacks its manifest."""

from __future__ import annotations

from pathlib import Path

from ..archive import layout, manifest
from ..archive.partial import is_ours
from ..common.evidence_document import Evidence
from ..host.files import read_json, remove_unfinished, write_json
from ..jobs.context import JobContext
from .parameters import Parameters

FINISHED = "dump.json"


def remember(partial: Path, context: JobContext) -> None:
    """Record the manifest of the archive that is about to be renamed to its final name."""
    write_json(_remembered(context), {"manifest_sha256": manifest.sha256(partial / layout.MANIFEST)})


def is_finished(final: Path, context: JobContext) -> bool:
    """Whether ``final`` is the unchanged archive of an earlier run of this job with the same parameters."""
    noted = read_json(_remembered(context))
    path = final / layout.MANIFEST
    if not isinstance(noted, dict) or not path.is_file() or noted.get("manifest_sha256") != manifest.sha256(path):
        return False
    if manifest.compare(final, manifest.load(final), workers=1, hashes=False):
        return False
    return _is_of(read_json(final / layout.EVIDENCE), context.given(Parameters))


def evidence_of(partial: Path, context: JobContext) -> Evidence | None:
    """The evidence of an archive of this job that only lacks its manifest; None if there is none.

    The evidence is written last, after everything else is durable, so its presence shows that the archive is complete.
    """
    if not partial.exists() or not is_ours(partial):
        return None
    document = read_json(partial / layout.EVIDENCE)
    if not document or not _is_of(document, context.given(Parameters)):
        return None
    # Files may be missing if an interrupted run had started to remove the archive.
    return document if document["dump"].get("written") == written(partial) else None


def written(partial: Path) -> dict[str, int]:
    """``{files, bytes}`` of the archive without evidence and manifest. Removes temporary files of these two that a killed run left."""
    for name in (layout.EVIDENCE, layout.MANIFEST):
        remove_unfinished(partial / name)
    sizes = [stat.st_size for path, stat in manifest.list_files(partial) if path != layout.EVIDENCE]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _is_of(document: Evidence, wanted: Parameters) -> bool:
    return (
        document["migration_id"] == wanted["migration_id"]
        and document["server"]["identity"] == wanted["server_identity"]
        and document["database"]["name"] == wanted["database"]
        and document["digest_method"] == wanted["digest_method"]
        and document["dump"]["format"] == wanted["format"]
        and document["dump"]["compression"] == wanted["compression"]
    )


def _remembered(context: JobContext) -> Path:
    return context.folder.parent.parent / FINISHED
