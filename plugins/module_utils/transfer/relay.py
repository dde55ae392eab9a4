# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target's side of a relay through the controller: which bytes are missing."""

from __future__ import annotations

from typing import Any, Mapping, Sequence, TypedDict

from ..archive import layout
from ..common.errors import MigrationError
from ..host.files import expand, make_private_folder
from ..jobs import job
from . import early, partial_archive
from .parameters import Options
from .way import KIND


class Segment(TypedDict):
    """What is missing of a file of the archive: its end, from ``offset`` on. bytes: the size of the whole file."""

    path: str
    offset: int
    bytes: int


class Missing(TypedDict):
    """What the controller is to bring into the folder ``partial``. present: the bytes that have arrived."""

    partial: str
    segments: list[Segment]
    present: int
    complete: bool


def missing(options: Options) -> Missing:
    """Create the partial folder and return the missing segments: first the manifest, then the files.

    Raises the errors of ``partial_archive``.
    """
    source = options["source"]
    final = expand(options["archive"])
    folder = job.job_folder(options["state_dir"], options["migration_id"], KIND)
    if job.read_state(folder).status == "running":
        return {"partial": "", "segments": [], "present": 0, "complete": True}
    if partial_archive.check_place(final, source, options["migration_id"]):
        return {"partial": "", "segments": [], "present": source["bytes"], "complete": True}
    early.take_over(final, folder.parent, resumable=False)
    partial = partial_archive.prepare(final, source, options["migration_id"])
    try:
        listing = partial_archive.load_manifest(partial, source)
    except MigrationError as error:
        if error.code != "manifest_missing":
            raise
        (partial / layout.MANIFEST).touch(mode=0o600)
        first: Segment = {"path": layout.MANIFEST, "offset": 0, "bytes": source["manifest_bytes"]}
        return {"partial": str(partial), "segments": [first], "present": 0, "complete": False}
    there = partial_archive.sizes(partial, listing)
    segments: list[Segment] = []
    for entry in listing["files"]:
        offset = there.get(entry["path"], -1)
        if offset < entry["bytes"]:
            target = partial / entry["path"]
            make_private_folder(target.parent)
            target.touch(mode=0o600)
            if entry["bytes"]:
                segments.append({"path": entry["path"], "offset": max(offset, 0), "bytes": entry["bytes"]})
    return {"partial": str(partial), "segments": segments, "present": sum(there.values()), "complete": not segments}


def checked(segments: Sequence[Mapping[str, Any]]) -> list[Segment]:
    """The segments that the target requests, validated on the controller: a manipulated target must not read other files.

    Raises MigrationError ``bad_segment``.
    """
    for segment in segments:
        sizes = (segment["offset"], segment["bytes"])
        if not partial_archive.is_inside(segment["path"]) or not all(
            isinstance(size, int) and size >= 0 for size in sizes
        ):
            raise MigrationError(
                f"The target requests {segment['path']!r}, which is not in the archive. Check the target for manipulation.",
                "bad_segment",
            )
    return [{"path": segment["path"], "offset": segment["offset"], "bytes": segment["bytes"]} for segment in segments]
