# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase transfer: the job that copies the archive to the target and verifies every file."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, Callable, Mapping

from ..archive import check as archive_check
from ..archive import layout, manifest
from ..archive.identity import check_dumped, manifest_sha256
from ..common import restart
from ..common.errors import MigrationError
from ..gate import access
from ..gate import key as gate_key
from ..host.files import expand
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..jobs.limits import Limits
from ..record.dumped import dumped_archive
from ..record.results import TransferResult
from . import early, partial_archive, rsync
from .parameters import Fingerprint, Parameters, TransferOptions, login
from .way import KIND

WAYS = ("direct", "relay")
# Attempts in a row that bring no data before a lost connection fails the job; an attempt that brings data resets the count.
TRIES = 4
PAUSE_SECONDS = 3.0
# A file whose content differs is fetched again completely. When it differs twice, the network is not the cause.
ROUNDS = 2


def job_spec(options: TransferOptions, limits: Limits) -> JobSpec:
    """The job for a transfer; ``options`` are the module's.

    Raises MigrationError ``other_archive`` when the source's archive isn't the one that the record says was dumped.
    """
    source = options["source"]
    check_dumped(
        source["archive"],
        source["manifest_sha256"],
        dumped_archive(expand(options["state_dir"]) / options["migration_id"]),
        "dump",
    )
    fingerprint: Fingerprint = {
        "archive": str(expand(options["archive"])),
        "manifest_sha256": source["manifest_sha256"],
        "way": options["way"],
    }
    parameters: Parameters = {
        **fingerprint,
        **login(options),
        "source": source,
        "state": str(expand(options["state_dir"]) / options["migration_id"]),
        "jobs": max(1, options["jobs"]),
        "reason": options["reason"],
        "full": options["full"],
        "migration_id": options["migration_id"],
    }
    # once=False: when another archive is in the way, check_place refuses it with a better message.
    return JobSpec(KIND, run, parameters, fingerprint, once=False, initial_limits=limits)


def still_valid(options: TransferOptions, result: Mapping[str, Any]) -> bool:
    """Whether the transferred archive still exists unchanged and equals the source's."""
    root, state = expand(options["archive"]), expand(options["state_dir"]) / options["migration_id"]
    return (
        not options["full"]
        and result.get("manifest_sha256") == options["source"]["manifest_sha256"]
        and archive_check.is_untouched(root, state)
    )


def run(context: JobContext) -> TransferResult:
    """Transfer the archive or resume a transfer, verify it, rename it to its final name.

    Raises MigrationError; then no new archive has the final name.
    """
    transfer = Transfer(context)
    try:
        return transfer.run()
    finally:
        if transfer.direct:
            access.end(transfer.key)


class Transfer:
    """One run of the job."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._parameters = context.given(Parameters)
        self._source = self._parameters["source"]
        self._final = Path(self._parameters["archive"])
        self._state = Path(self._parameters["state"])
        self.key = gate_key.key_folder(context.folder)
        self._started = time.monotonic()
        self._received = 0
        self.direct = self._parameters["way"] == "direct"

    def run(self) -> TransferResult:
        """Run all steps and return the job's result."""
        progress = self._context.progress
        refetched: list[str] = []
        if partial_archive.check_place(self._final, self._source, self._state.name):
            listing = manifest.load(self._final)
            progress.plan(1)
            if self._is_intact(listing):
                return self._result(listing, 0, refetched)
            self._plan()
            self._check_access()
            partial = partial_archive.reopen(self._final)
        else:
            self._plan()
            self._check_access()
            early.take_over(self._final, self._context.folder.parent, self.direct)
            partial = partial_archive.prepare(self._final, self._source, self._state.name)
        if self.direct:
            self._fetch_manifest(partial)
        listing = partial_archive.load_manifest(partial, self._source)
        there = partial_archive.sizes(partial, listing)
        resumed = sum(there.values())
        for _round in range(ROUNDS):
            if self.direct:
                self._fetch(partial, listing, there)
            wrong = self._verify(partial, listing)
            if not wrong:
                partial_archive.finish(partial, self._final, self._state)
                return self._result(listing, resumed, refetched)
            self._context.log(f"Another SHA-256 than in the manifest: {', '.join(wrong)}. Fetched again.")
            refetched += wrong
            if not self.direct:
                break
            progress.plan(2)
            there = partial_archive.sizes(partial, listing)
        raise MigrationError(
            f"Transferred files have another SHA-256 than in the manifest: {', '.join(refetched[:5])}. They were removed: run again "
            "to transfer them again. If they differ again, the archive on the source is damaged: check its memory and disks, then "
            f"dump again with {restart.command('dump')}",
            "archive_differs",
            files=refetched[:100],
        )

    def _plan(self) -> None:
        """Announce the steps: connecting, manifest, files, checksums; after a relay only the checksums."""
        self._context.progress.plan(4 if self.direct else 1)

    def _is_intact(self, listing: manifest.Manifest) -> bool:
        """Whether the archive under its final name matches the manifest. Raises if it is the source's own archive."""
        if not self._parameters["full"] and archive_check.is_untouched(self._final, self._state):
            return True
        self._context.progress.step("checksums", listing["bytes"], "bytes")
        differences = manifest.compare(
            self._final, listing, self._parameters["jobs"], on_bytes=self._context.progress.advance
        )
        if not differences:
            archive_check.remember(self._final, self._state)
            return True
        if partial_archive.identify(self._final) == self._source["identity"]:
            # A shared folder: this is the source's own archive, so fetching it again can't repair it.
            manifest.raise_if_different(self._final, listing, differences)
        self._context.log(f"Altered since it arrived: {differences.sentence()}. Fetched again.")
        return False

    def _check_access(self) -> None:
        """Check that the source accepts the key, before anything is created here. Raises as ``access.begin``."""
        if not self.direct:
            return
        self._context.progress.step("connecting")
        access.begin(
            self.key,
            self._parameters,
            "Or set couch2pg_transfer_way to relay: then the archive goes through the controller.",
        )

    def _fetch_manifest(self, partial: Path) -> None:
        self._context.progress.step("manifest")
        if manifest_sha256(partial) != self._source["manifest_sha256"]:
            self._pull(partial, layout.MANIFEST, rsync.Listener(), lambda: 0)

    def _fetch(self, partial: Path, listing: manifest.Manifest, there: dict[str, int]) -> None:
        """Fetch the files that are missing or incomplete. ``there``: the bytes of each file that has arrived."""
        wanted = {
            entry["path"]: entry["bytes"] for entry in listing["files"] if there.get(entry["path"]) != entry["bytes"]
        }
        if not wanted:
            return
        listener = rsync.Listener()
        self._context.progress.step(
            "files", sum(wanted.values()), "bytes", probe=lambda: (listener.done, listener.file)
        )

        def whole_since() -> int:
            now = partial_archive.sizes(partial, listing)
            return sum(size for path, size in wanted.items() if now.get(path) == size)

        self._pull(partial, "", listener, whole_since)

    def _pull(self, partial: Path, what: str, listener: rsync.Listener, before: Callable[[], int]) -> None:
        """Run rsync until it succeeds, again after a lost connection. ``before``: returns the bytes of completed files."""
        failures = 0
        while True:
            arrived = self._arrived(partial)
            code = self._run_rsync(partial, what, listener)
            if code == 0:
                return
            # None means that the rate limit changed and rsync must restart with the new one.
            if code is not None:
                free = shutil.disk_usage(partial).free
                error = rsync.failure(code, listener.complaints, free, partial.parent)
                failures = 0 if self._arrived(partial) > arrived else failures + 1
                if error.code != "interrupted" or failures >= TRIES:
                    raise error
                self._context.log(f"{error.message} Trying again.")
                self._context.progress.note("lost", lambda: "" if listener.moving else "connection lost, reconnecting")
                time.sleep(PAUSE_SECONDS)
            listener.start_again(before())

    def _run_rsync(self, partial: Path, what: str, listener: rsync.Listener) -> int | None:
        """Run rsync once; returns its exit code, or None when the rate limit changed."""
        silence = self._parameters["silence"]

        def build(rate: int) -> list[str]:
            return rsync.command(
                self.key / gate_key.CONFIGURATION, what, partial, silence, rate, self._source["compressible"]
            )

        code = rsync.run(self._context.folder, build, silence, listener)
        self._received += listener.received
        for line in listener.complaints:
            self._context.log(line)
        return code

    def _arrived(self, partial: Path) -> int:
        return sum(stat.st_size for _path, stat in manifest.list_files(partial))

    def _verify(self, partial: Path, listing: manifest.Manifest) -> list[str]:
        self._context.progress.step("checksums", listing["bytes"], "bytes")
        return partial_archive.verify(partial, listing, self._parameters["jobs"], self._context.progress.advance)

    def _result(self, listing: manifest.Manifest, resumed: int, refetched: list[str]) -> TransferResult:
        return {
            "archive": str(self._final),
            "bytes": listing["bytes"],
            "files": len(listing["files"]),
            "manifest_sha256": self._source["manifest_sha256"],
            "way": self._parameters["way"],
            "reason": self._parameters["reason"],
            "seconds": round(time.monotonic() - self._started, 1),
            "received_bytes": self._received,
            "resumed_bytes": resumed,
            "refetched": refetched,
        }
