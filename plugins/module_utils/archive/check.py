# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check an archive against its manifest: hash every file once, later only compare sizes and modification times."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from ..common.errors import MigrationError
from ..host.files import expand, read_json, write_json
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..jobs.options import JobOptions
from ..jobs.progress import Progress
from . import identity, layout, manifest

STAMP = "archive_checked.json"


class Options(JobOptions):
    """The options of the module ``archive_manifest``. state: ``verified``, ``created`` or ``renewed``; jobs: workers.

    full: hash every file, even one that is unchanged since it was hashed.
    """

    archive: str
    state: str
    full: bool
    jobs: int


class Fingerprint(TypedDict):
    """What identifies the work: the folder."""

    archive: str


class Parameters(Fingerprint):
    """The parameters of the job. state: the migration's folder; dumped: as in ``check_archive``.

    create: write the manifest of a folder that has none; renew: also that of a folder that has one.
    """

    state: str
    jobs: int
    full: bool
    dumped: str
    create: bool
    renew: bool


class Checked(TypedDict):
    """The result of the job: the archive, with ``files`` files of ``bytes`` bytes in all."""

    archive: str
    bytes: int
    files: int
    manifest_sha256: str


def check_archive(root: Path, state: Path, dumped: str, jobs: int, progress: Progress) -> manifest.Manifest:
    """The manifest of ``root``, after checking the files; hashes them unless ``state`` shows that they are unchanged since.

    dumped: SHA-256 of the manifest of this migration's dump; empty when it is unknown.

    Raises MigrationError ``archive_differs``, ``manifest_missing`` or ``other_archive``.
    """
    listing = identity.load_own(root, state.name, dumped)
    if not is_untouched(root, state):
        progress.step("checksums", listing["bytes"], "bytes")
        differences = manifest.compare(root, listing, jobs, on_bytes=progress.advance)
        manifest.raise_if_different(root, listing, differences)
        remember(root, state)
    return listing


def remember(root: Path, state: Path) -> None:
    """Record that every file of ``root`` matches the manifest now."""
    write_json(
        state / STAMP,
        {"root": str(root), "manifest_sha256": identity.manifest_sha256(root), "files": manifest.stamp(root)},
    )


def distrust(state: Path) -> None:
    """Have the next check read every file again, because files can be damaged whose size and time are the same."""
    stamp = read_json(state / STAMP)
    if isinstance(stamp, dict):
        write_json(state / STAMP, {name: value for name, value in stamp.items() if name != "files"})


def is_untouched(root: Path, state: Path) -> bool:
    """Whether the last full check of ``root`` succeeded and no file has changed since."""
    stamp = read_json(state / STAMP)
    return (
        isinstance(stamp, dict)
        and stamp.get("root") == str(root)
        and (root / layout.MANIFEST).exists()
        and stamp.get("files") == manifest.stamp(root)
    )


def job_spec(options: Options, dumped: str) -> JobSpec:
    """The job that checks an archive; ``options`` are the module's, ``dumped`` as in ``check_archive``."""
    root = expand(options["archive"])
    fingerprint: Fingerprint = {"archive": str(root)}
    parameters: Parameters = {
        **fingerprint,
        "state": str(expand(options["state_dir"]) / options["migration_id"]),
        "jobs": max(1, options["jobs"]),
        "full": options["full"],
        "dumped": dumped,
        "create": options["state"] in ("created", "renewed"),
        "renew": options["state"] == "renewed",
    }
    return JobSpec("archive_check", run, parameters, fingerprint, once=False)


def still_valid(options: Options, dumped: str) -> bool:
    """Whether the result of a finished check is still valid."""
    root, state = expand(options["archive"]), expand(options["state_dir"]) / options["migration_id"]
    same = not dumped or identity.manifest_sha256(root) == dumped
    return not options["full"] and same and is_untouched(root, state)


def run(context: JobContext) -> Checked:
    """Compare every file with the manifest; the work of the job ``archive_check``."""
    parameters = context.given(Parameters)
    root, state = Path(parameters["archive"]), Path(parameters["state"])
    if parameters["full"]:
        distrust(state)
    if parameters["create"]:
        known = _manifest_of_a_folder(root)
        if parameters["renew"] or known is None:
            _create(root, state.name, known, context)
    listing = check_archive(root, state, parameters["dumped"], parameters["jobs"], context.progress)
    return {
        "archive": str(root),
        "bytes": listing["bytes"],
        "files": len(listing["files"]),
        "manifest_sha256": identity.manifest_sha256(root),
    }


def _manifest_of_a_folder(root: Path) -> manifest.Manifest | None:
    """The manifest of any folder; None when it has none yet.

    Raises MigrationError ``no_folder``, or ``other_manifest`` for a file of another tool or a damaged one.
    """
    if not root.is_dir():
        raise MigrationError(f"There is no folder {root} on this host. Correct archive.", "no_folder", path=str(root))
    try:
        return manifest.load(root)
    except MigrationError as error:
        if error.code == "manifest_missing":
            return None
        raise MigrationError(
            f"{root / layout.MANIFEST} is not a manifest of this module, which keeps its own under that name and does not overwrite the "
            "file. Nothing was changed. Give a folder above this one, or move the file away.",
            "other_manifest",
            path=str(root),
        ) from error


def _create(root: Path, migration_id: str, known: manifest.Manifest | None, context: JobContext) -> None:
    """Write the manifest of a folder that was not written by this collection's dump. known: its present manifest, if any.

    Raises MigrationError ``manifest_of_a_dump`` for an archive of the dump, whose manifest is evidence.
    """
    if known is not None and "options" in known:
        raise MigrationError(
            f"The manifest in {root} was written by a dump, and proves what was dumped, so that it is never written again. "
            "Nothing was changed. To check the archive: state: verified.",
            "manifest_of_a_dump",
        )
    context.progress.step("checksums", sum(stat.st_size for _path, stat in manifest.list_files(root, {})), "bytes")
    listing = manifest.create(root, context.given(Parameters)["jobs"], context.progress.advance, links={})
    write_json(root / layout.MANIFEST, dict(listing, migration_id=migration_id))
    # Every file was hashed just now.
    remember(root, context.folder.parent.parent)
