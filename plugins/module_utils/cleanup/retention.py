# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the newest dumps of a database, such as nightly ones. Older ones are removed with their state; no database is contacted.

Only a dump outside of a migration is removed ("a dump alone"): its record on this host has no other phase, or it was killed before it
was recorded. An archive of a migration stays.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..archive import check as archive_check
from ..archive import layout, manifest
from ..common.clock import utc_now
from ..common.errors import MigrationError
from ..dump import earlier_dump
from ..host.files import expand, read_json, unfinished
from ..jobs import job
from ..record import document
from . import removal

# The files in the state folder of a dump, besides its jobs.
_STATE_FILES = (document.NAME, f"{Path(document.NAME).stem}.lock", earlier_dump.FINISHED, archive_check.STAMP)


@dataclass(frozen=True)
class _Dump:
    """A dump alone: its migration_id, and its archive's folder, None when the dump failed. at: when it was taken, failed or begun."""

    name: str
    at: str
    archive: Path | None


def plan(staging_dir: str, state_dir: str, migration_id: str, database: str, keep: int) -> removal.Plan:
    """What to remove so that ``keep`` archives of the database stay.

    migration_id: the dump of this run, which always stays. It counts even if it doesn't exist yet (check mode).
    Raises MigrationError ``other_archive`` when its archive is of another database.
    """
    finished, failed = _dumps(staging_dir, state_dir, database)
    own = layout.archive_folder(staging_dir, migration_id)
    identity, own_at = "", utc_now()
    if (own / layout.MANIFEST).exists():
        listing = manifest.load(own)
        identity, own_at = listing.get("server_identity", ""), listing.get("taken_at", own_at)
        if listing.get("database") != database:
            raise MigrationError(
                f"The archive in {own} is not of the database {database!r}. Set another couch2pg_migration_id for this dump, then run "
                "again.",
                "other_archive",
            )
    others = [dump for dump, server in finished if dump.name != migration_id and (not identity or server == identity)]
    others.sort(key=lambda dump: dump.at, reverse=True)
    kept, old = others[: keep - 1], others[keep - 1 :]
    oldest = kept[-1].at if kept else own_at
    old += [dump for dump in failed if dump.at < oldest and dump.name != migration_id]
    planned = removal.Plan()
    for dump in old:
        with suppress(MigrationError):
            _add(planned, dump, staging_dir, state_dir)
    for dump in (dump for dump in failed if dump not in old and dump.name != migration_id):
        # The log of a failed dump stays as long as the archives from that time. Its incomplete archive only takes space.
        with suppress(MigrationError):
            archive = layout.archive_folder(staging_dir, dump.name)
            half = removal.plan(archive, dump.name, None, state_dir, half_done=True, jobs=False)
            planned.files += half.files
            planned.folders += half.folders
    return planned


def _dumps(staging_dir: str, state_dir: str, database: str) -> tuple[list[tuple[_Dump, str]], list[_Dump]]:
    """The dumps alone of the database: those with an archive, each with its server's identity, and those that failed."""
    finished, failed = [], []
    for state in sorted(path for path in expand(state_dir).glob("*") if path.is_dir()):
        archive = layout.archive_folder(staging_dir, state.name)
        # Nothing is removed of a dump with a damaged file.
        with suppress(MigrationError):
            at = _alone(state, database)
            if at is None:
                continue
            if not (archive / layout.MANIFEST).exists():
                failed.append(_Dump(state.name, at, None))
                continue
            listing = manifest.load(archive)
            if listing.get("migration_id") == state.name and listing.get("database") == database:
                dump = _Dump(state.name, listing["taken_at"], archive)
                finished.append((dump, listing["server_identity"]))
    return finished, failed


def _alone(state: Path, database: str) -> str | None:
    """The time at which a dump alone of the database was recorded or, if it was killed before, begun. None for anything else."""
    record = document.load(state / document.NAME)
    if record is not None:
        alone = set(record["phases"]) == {"dump"} and record["database"] == database
        return record["updated_at"] if alone else None
    spec = read_json(job.job_folder(str(state.parent), state.name, "dump") / "spec.json") or {}
    parameters = spec.get("parameters") or {}
    return utc_now(lambda: spec["created"]) if parameters.get("alone") and parameters["database"] == database else None


def _add(planned: removal.Plan, dump: _Dump, staging_dir: str, state_dir: str) -> None:
    """Add a dump to the plan, unless something in it is not known. Raises MigrationError ``job_running``."""
    archive = dump.archive or layout.archive_folder(staging_dir, dump.name)
    one = removal.plan(archive, dump.name, None, state_dir, half_done=True)
    state = expand(state_dir) / dump.name
    if one.left:
        planned.left += one.left
        return
    # The record last: the next run needs it to continue an interrupted removal.
    ours = [path for name in reversed(_STATE_FILES) for path in (*unfinished(state / name), state / name)]
    files = [*one.files, *(path for path in ours if path.is_file())]
    gone = {*files, *one.folders}
    planned.dumps.append(dump.name)
    planned.files += files
    planned.folders += [*one.folders, *([state] if all(path in gone for path in state.iterdir()) else [])]
