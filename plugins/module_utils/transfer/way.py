# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the way of the transfer: direct, through the controller (relay), or local. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from ..archive import check as archive_check
from ..archive.identity import check_dumped, manifest_sha256
from ..common.errors import MigrationError
from ..gate.reach import obstacles as gate_obstacles
from ..host import programs
from ..host.files import expand, read_json
from ..jobs import job
from ..record.dumped import dumped_archive
from . import partial_archive
from .parameters import Options

# The kind of the job.
KIND = "transfer"
CHOICES = ("auto", "direct", "relay", "local")
SAME = "source and target see the same archive"


class Way(TypedDict):
    """The way of a transfer, and why. done: the archive is here already; blocked: the reasons why ``direct`` is not possible."""

    way: str
    reason: str
    done: bool
    blocked: list[str]


def choose(options: Options) -> Way:
    """Choose the way for the module's ``options``.

    Raises MigrationError ``source_missing``, ``not_the_same``, ``direct_impossible``, ``other_archive``, or as
    ``partial_archive.check_place``.
    """
    source, wanted = options["source"], options["way"]
    if not source and wanted in ("direct", "relay"):
        raise MigrationError(
            f"With the way {wanted}, couch2pg_transfer_source_host must name the source as the inventory has it.",
            "source_missing",
        )
    final = expand(options["archive"])
    known = source.get("manifest_sha256") or ""
    if known:
        state = expand(options["state_dir"]) / options["migration_id"]
        check_dumped(source["archive"], known, dumped_archive(state), "dump")
        begun = _begun(options)
        if begun is not None and wanted in ("auto", begun["way"]):
            return begun
        if manifest_sha256(final) == known and wanted in ("auto", "local"):
            return {"way": "local", "reason": _why_local(final, source), "done": False, "blocked": []}
    if wanted == "local":
        raise _not_the_same(final, known)
    if known:
        partial_archive.check_place(final, source, options["migration_id"])
    if wanted == "relay":
        return {"way": "relay", "reason": "it was requested", "done": False, "blocked": []}
    blocked = obstacles(source, options["address"], options["port"])
    if blocked and wanted == "direct":
        raise MigrationError(
            f"The target can't fetch the archive directly: {' '.join(blocked)} Or set couch2pg_transfer_way to relay.",
            "direct_impossible",
            blocked=blocked,
        )
    if blocked:
        return {"way": "relay", "reason": " ".join(blocked), "done": False, "blocked": blocked}
    reason = "it was requested" if wanted == "direct" else "the target reaches the source's sshd"
    return {"way": "direct", "reason": reason, "done": False, "blocked": []}


def obstacles(source: partial_archive.SourceArchive, address: str, port: int) -> list[str]:
    """Reasons why this host can't fetch the archive itself."""
    found = []
    try:
        programs.locate("rsync", "")
    except MigrationError:
        found.append("rsync is missing on the target (Debian: rsync).")
    if not source.get("rsync"):
        found.append("rsync is missing on the source (Debian: rsync).")
    return found + gate_obstacles(source.get("obstacles", ()), address, port)


def _begun(options: Options) -> Way | None:
    """The way of a transfer of the same archive that is running or has completed the archive; None otherwise."""
    folder = job.job_folder(options["state_dir"], options["migration_id"], KIND)
    spec = read_json(folder / "spec.json")
    parameters = spec.get("parameters") if isinstance(spec, dict) else None
    if not isinstance(parameters, dict):
        return None
    if parameters.get("manifest_sha256") != options["source"]["manifest_sha256"]:
        return None
    if parameters.get("archive") != str(expand(options["archive"])):
        return None
    state = job.read_state(folder)
    arrived = manifest_sha256(Path(parameters["archive"])) == parameters["manifest_sha256"]
    untouched = archive_check.is_untouched(Path(parameters["archive"]), folder.parents[1])
    done = state.status == "done" and arrived and untouched and not options["full"]
    if done or arrived or state.status == "running":
        return {"way": parameters["way"], "reason": parameters["reason"], "done": done, "blocked": []}
    # An interrupted transfer may resume by another way.
    return None


def _why_local(final: Path, source: partial_archive.SourceArchive) -> str:
    if partial_archive.identify(final) == source["identity"]:
        return SAME
    return "the target already has the same archive"


def _not_the_same(final: Path, known: str) -> MigrationError:
    if not known:
        return MigrationError(
            "The source has no archive yet. Run the dump first, or check the path.", "manifest_missing"
        )
    return MigrationError(
        f"The source's archive is not in {final} on the target, as couch2pg_transfer_way local requires. "
        "Share the folder, or set couch2pg_transfer_way to auto.",
        "not_the_same",
        path=str(final),
    )
