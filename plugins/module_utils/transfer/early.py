# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the archive while the dump still writes it, because a slow line would be idle until the dump ends.

The job copies the growing files of tables into a folder of its own. Nothing depends on it: the dump doesn't wait for it, and the
transfer takes the folder over and verifies every file. So a failure here only leaves more work for the transfer.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypedDict

from ..archive import layout, manifest, partial
from ..common.progress_line import amount
from ..gate import access
from ..gate import key as gate_key
from ..host.files import check_writable, expand
from ..jobs import job
from ..jobs.context import JobContext
from ..jobs.job import JobSpec
from ..jobs.limits import Limits
from . import rsync
from .parameters import EarlyParameters, TransferOptions, login

KIND = "early_transfer"
ROUND_SECONDS = 2.0
# The job ends after this time without new data: the dump was killed, or writes to another place.
IDLE_SECONDS = 900.0
# What rsync's daemon says when it has no such folder.
_NO_FOLDER = "chdir failed"


class Fetched(TypedDict):
    """The result of the job: the bytes that have arrived."""

    bytes: int


def job_spec(options: TransferOptions, limits: Limits) -> JobSpec:
    """The job; ``options`` are the module's."""
    fingerprint = {"archive": str(expand(options["archive"]))}
    parameters: EarlyParameters = {
        **login(options),
        "archive": fingerprint["archive"],
        "compressible": options["source"].get("compressible", False),
    }
    return JobSpec(KIND, run, parameters, fingerprint, once=False, initial_limits=limits)


def take_over(final: Path, jobs: Path, resumable: bool) -> None:
    """End the job and let the transfer resume from what has arrived.

    final: the archive's folder once it is transferred; jobs: the folder of the migration's jobs.
    resumable: whether the transfer detects a file whose first bytes differ from the source's. If not, the fetched files are removed.
    """
    if job.needs_cancel(jobs / KIND):
        job.cancel(jobs / KIND)
    arrived, resumed = layout.early_folder(final), layout.partial_folder(final)
    if not arrived.is_dir():
        return
    # Where the partial folder exists, an earlier attempt of this transfer has fetched more.
    if resumable and not resumed.exists():
        arrived.rename(resumed)
    else:
        partial.discard(arrived)


def run(context: JobContext) -> Fetched:
    """Fetch until the dump has ended.

    Raises MigrationError ``not_writable`` or ``archive_exists``, or as ``access.begin``.
    """
    key = gate_key.key_folder(context.folder)
    parameters = context.given(EarlyParameters)
    try:
        context.progress.plan(1)
        context.progress.step("fetching what the dump writes")
        access.begin(key, parameters, "The archive is fetched after the dump.")
        return {"bytes": _follow(context, key, Path(parameters["archive"]))}
    finally:
        access.end(key)


def _follow(context: JobContext, key: Path, final: Path) -> int:
    arrived = layout.early_folder(final)
    check_writable(final.parent)
    if not (arrived / layout.HALF_DONE).is_file():
        partial.start_empty(arrived)
    fetching = _Fetching(context, key / gate_key.CONFIGURATION, arrived)
    begun, moved = False, time.monotonic()
    context.progress.note("arrived", lambda: amount(fetching.known, "bytes"))
    while time.monotonic() - moved < IDLE_SECONDS:
        # Either both hosts share the folder that the dump writes to, or a transfer has begun.
        if final.exists() or layout.partial_folder(final).exists():
            partial.discard(arrived)
            return 0
        listener, round_begun, before = rsync.Listener(), time.monotonic(), fetching.known
        code = fetching.round(listener)
        if fetching.known > before:
            moved = time.monotonic()
        gone = any(_NO_FOLDER in line for line in listener.complaints)
        if gone and begun:
            break
        begun = begun or code == 0
        # At most one login every ROUND_SECONDS on a fast line. A slow line, whose round takes longer, doesn't wait.
        if code is not None:
            time.sleep(max(0.0, ROUND_SECONDS - (time.monotonic() - round_begun)))
    return fetching.known


class _Fetching:
    """The files that arrive from the dump, in a folder whose marker has the name of that dump.

    known: their bytes after the last round.
    """

    def __init__(self, context: JobContext, configuration: Path, arrived: Path) -> None:
        self._context = context
        self._configuration = configuration
        self._arrived = arrived
        self._same_dump = False
        self.known = _bytes(arrived)

    def round(self, listener: rsync.Listener) -> int | None:
        """Fetch what the dump has written since the last round; returns the result of ``rsync.run``."""
        if not self._same_dump:
            code = self._look_at_dump(listener)
            if code != 0:
                return code
        before = _bytes(self._arrived)
        code = self._run(listener, "", self._arrived)
        self.known = _bytes(self._arrived)
        # Without new data, the dump may have begun again: its files are then shorter than those that have arrived.
        self._same_dump = self.known > before
        return code

    def _look_at_dump(self, listener: rsync.Listener) -> int | None:
        """Remove what has arrived of another dump; what an earlier job fetched from the same one is kept."""
        marker = self._context.work / layout.HALF_DONE
        marker.unlink(missing_ok=True)
        code = self._run(listener, layout.HALF_DONE, self._context.work)
        if code == 0:
            dump = marker.read_text(encoding="utf-8", errors="replace")
            if (self._arrived / layout.HALF_DONE).read_text(encoding="utf-8", errors="replace") != dump:
                partial.start_empty(self._arrived, dump)
        return code

    def _run(self, listener: rsync.Listener, what: str, into: Path) -> int | None:
        parameters = self._context.given(EarlyParameters)
        silence, compress = parameters["silence"], parameters["compressible"]

        def build(rate: int) -> list[str]:
            return rsync.command(self._configuration, what, into, silence, rate, compress, growing=not what)

        return rsync.run(self._context.folder, build, silence, listener)


def _bytes(folder: Path) -> int:
    return sum(stat.st_size for _path, stat in manifest.list_files(folder))
