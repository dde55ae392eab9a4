# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk plan: compare the space that a migration needs on each file system of a host with the free space.

The needs come from measured sizes. Uses that share a file system are added up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Iterable, TypedDict

from ..archive import layout
from ..archive import size as archive_size
from ..archive.size import archive_bytes
from ..common.errors import MigrationError
from ..common.progress_line import amount
from ..host import file_systems
from ..host.file_systems import FileSystem, folder_bytes, locate
from ..host.files import expand
from ..postgres import server_folders
from ..postgres.database import database_size, find_database
from ..postgres.relations import Tables
from ..postgres.server_folders import ServerFolders
from ..postgres.session import Session
from .sizes import NeedDocument, Sizes

RULES = ("measured", "guide")
GUIDE_FACTOR = 3
# Safety factors for estimates.
ARCHIVE_MARGIN = 1.15
DATA_MARGIN = 1.1
# WAL of a restore, relative to rows and indexes.
WAL_SHARE = 1.2
# State files, logs, and the evidence of an archive.
STATE_BYTES = 64 * 1024 * 1024
# For tar, pg_dump buffers each table in a tmpfile(), which is in /tmp even if TMPDIR is set.
TMPFILE_FOLDER = Path("/tmp")

_SIZES = """
SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS database,
       coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)) FILTER (WHERE c.relkind = 'm'), 0)::int8 AS matviews,
       coalesce(max(pg_catalog.pg_total_relation_size(c.oid)) FILTER (WHERE c.relkind = 'm'), 0)::int8 AS largest_matview,
       count(*) FILTER (WHERE c.relkind IN ('r', 'm', 'i', 't', 'S')) AS relations,
       coalesce(max(pg_catalog.pg_total_relation_size(c.oid)) FILTER (WHERE c.relname = 'pg_largeobject'), 0)::int8
           AS large_objects,
       (SELECT sum(pg_catalog.pg_database_size(d.oid)) FROM pg_catalog.pg_database AS d
        WHERE pg_catalog.has_database_privilege(d.oid, 'CONNECT'))::int8 AS server
FROM pg_catalog.pg_class AS c
"""
_INDEXES = """
SELECT pg_catalog.pg_relation_size(i.indexrelid) AS bytes FROM pg_catalog.pg_index AS i
WHERE i.indexrelid >= 16384 ORDER BY 1 DESC LIMIT 16
"""
_TABLESPACES = """
SELECT t.spcname AS name, sum(pg_catalog.pg_table_size(c.oid))::int8 AS bytes
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_tablespace AS t ON t.oid = c.reltablespace
WHERE t.spcname !~ '^pg_' AND c.relkind IN ('r', 'm', 'i') GROUP BY 1 ORDER BY 1
"""
_WAL = """
SELECT coalesce(sum(setting::int8 * CASE unit WHEN '16MB' THEN 16 WHEN '1GB' THEN 1024 ELSE 1 END), 0)::int8 * 1048576
FROM pg_catalog.pg_settings WHERE name IN ('max_wal_size', 'wal_keep_size')
"""


@dataclass(frozen=True)
class Need:
    """Bytes and files that a use needs below ``path``; ``present`` bytes exist from an earlier attempt."""

    path: str
    use: str
    bytes: int
    files: int = 0
    present: int = 0

    @property
    def missing(self) -> int:
        """Bytes that will be added."""
        return max(0, self.bytes - self.present)

    def as_dict(self) -> NeedDocument:
        """The need as JSON types."""
        return {
            "path": self.path,
            "use": self.use,
            "bytes": self.bytes,
            "files": self.files,
            "present": self.present,
        }


class DiskOptions(TypedDict):
    """The options of a module that the plan depends on."""

    rule: str
    state_dir: str
    staging_dir: str
    migration_id: str
    format: str
    compression: str
    archive_here: bool
    incoming: str
    jobs: int


class ReportedNeed(TypedDict):
    """A need in the report of its file system: the bytes that will be added."""

    use: str
    path: str
    bytes: int


class FileSystemReport(TypedDict):
    """The needed, free and remaining space of a file system. inodes_free: None where inodes are allocated on demand."""

    mount_point: str
    uses: list[str]
    needs: list[ReportedNeed]
    needed: int
    free: int
    left_over: int
    inodes_needed: int
    inodes_free: int | None
    ok: bool


class DiskPlan(TypedDict):
    """The plan of one host. guide_bytes: by the manual guide, None without a database; unknown: uses that are not on this host."""

    rule: str
    file_systems: list[FileSystemReport]
    needs: list[NeedDocument]
    guide_bytes: int | None
    unknown: list[str]
    unknown_reason: str


def judge(needs: Iterable[Need], find: Callable[[Path], FileSystem] = locate) -> list[FileSystemReport]:
    """The needed, free and remaining space of each file system, in the order of the needs.

    Two needs with the same use and path are the same bytes and count once.
    """
    unique = {(need.path, need.use): need for need in needs}
    groups: dict[int, list[Need]] = {}
    places: dict[int, FileSystem] = {}
    for need in unique.values():
        place = find(expand(need.path))
        places.setdefault(place.device, place)
        groups.setdefault(place.device, []).append(need)
    return [_balance(places[device], group) for device, group in groups.items()]


def _balance(place: FileSystem, needs: list[Need]) -> FileSystemReport:
    needed = sum(need.missing for need in needs)
    files = sum(need.files for need in needs)
    left = None if place.inodes_free is None else place.inodes_free - files
    return {
        "mount_point": place.mount_point,
        "uses": [need.use for need in needs],
        "needs": [{"use": need.use, "path": need.path, "bytes": need.missing} for need in needs],
        "needed": needed,
        "free": place.free,
        "left_over": place.free - needed,
        "inodes_needed": files,
        "inodes_free": place.inodes_free,
        "ok": place.free >= needed and (left is None or left >= 0),
    }


def check(file_system: FileSystemReport) -> None:
    """Raise MigrationError ``disk_full`` when this file system is too small."""
    if file_system["ok"]:
        return
    place, uses = file_system["mount_point"], ", ".join(file_system["uses"])
    if file_system["left_over"] < 0:
        raise MigrationError(
            f"The file system {place} is {-file_system['left_over']} bytes short: {file_system['needed']} "
            f"({amount(file_system['needed'], 'bytes')}) are needed for {uses}, {file_system['free']} "
            f"({amount(file_system['free'], 'bytes')}) are free. Free disk space there, choose another folder, or enlarge it.",
            "disk_full",
            **file_system,
        )
    raise MigrationError(
        f"The file system {place} has {file_system['inodes_free']} inodes free, and {file_system['inodes_needed']} "
        f"are needed for {uses}. Remove files there, or choose another folder.",
        "disk_full",
        **file_system,
    )


def measure(session: Session, tables: Tables) -> Sizes:
    """Sizes of the session's database and its estimated archive, for ``needs_on_source`` and ``needs_on_target``."""
    row = session.row(_SIZES)
    return {
        "database": row["database"],
        "server": row["server"],
        "matviews": row["matviews"],
        "largest_matview": row["largest_matview"],
        "relations": row["relations"],
        "large_objects": row["large_objects"],
        "tables": sum(table.table_bytes for table in tables.kept),
        "table_count": len(tables.kept),
        "indexes": sum(table.index_bytes for table in tables.kept),
        "largest_indexes": [row["bytes"] for row in session.rows(_INDEXES)],
        "tablespaces": {row["name"]: row["bytes"] for row in session.rows(_TABLESPACES)},
        "archive": archive_size.measure(session, tables.kept),
        "machine": file_systems.machine(),
    }


def needs_on_source(sizes: Sizes, options: DiskOptions) -> list[Need]:
    """The needs on the source: the archive, and for tar pg_dump's buffer."""
    needs = [_archive(sizes, options), Need(options["state_dir"], "state and log", STATE_BYTES, 100)]
    if options["format"] == "tar":
        largest = int(sizes["archive"]["largest_text_bytes"] * ARCHIVE_MARGIN)
        needs.append(Need(str(TMPFILE_FOLDER), "pg_dump's buffer of the largest table", largest, 1))
    return needs


def needs_on_target(
    sizes: Sizes, options: DiskOptions, folders: ServerFolders, wal_limit: int, present: int
) -> list[Need]:
    """The needs on the target: the transferred archive, the decompressed tar, and the server's files if it is on this host.

    present: bytes of the incomplete database that the restore will drop.
    """
    needs = [Need(options["state_dir"], "state and log", STATE_BYTES, 100)]
    if options["archive_here"]:
        needs.append(_archive(sizes, options))
    if options["format"] == "tar":
        text = int(sizes["archive"]["text_bytes"] * ARCHIVE_MARGIN)
        needs.append(Need(options["state_dir"], "unpacked tar", text, 1))
    if folders.data is None or folders.wal is None:
        return needs
    data = int((sizes["tables"] + sizes["indexes"] + sizes["matviews"] + sizes["large_objects"]) * DATA_MARGIN)
    elsewhere = {
        name: int(size * DATA_MARGIN) for name, size in sizes["tablespaces"].items() if name in folders.tablespaces
    }
    # Three files per relation: main fork, free space map, visibility map.
    files = 3 * sizes["relations"]
    needs.append(Need(str(folders.data), "database", max(0, data - sum(elsewhere.values())), files, present))
    needs += [Need(str(folders.tablespaces[name]), f"tablespace {name}", size) for name, size in elsewhere.items()]
    needs.append(Need(str(folders.wal), "WAL", min(wal_limit, int(data * WAL_SHARE)), 10))
    # The peak of either parallel index builds, one per worker, or the copy that REFRESH ... CONCURRENTLY creates.
    temporary = max(sum(sizes["largest_indexes"][: max(1, options["jobs"])]), sizes["largest_matview"])
    needs.append(Need(str(folders.temporary[0]), "temporary files", temporary, 100))
    return needs


def needs_by_guide(database_bytes: int, side: str, staging_dir: str, data: Path | None) -> list[Need]:
    """The needs according to the manual guide: three times the database on each server."""
    if side == "target" and data is not None:
        return [
            Need(staging_dir, "guide: dump and its compressed copy", (GUIDE_FACTOR - 1) * database_bytes),
            Need(str(data), "guide: database", database_bytes),
        ]
    return [Need(staging_dir, "guide: 3 x the database", GUIDE_FACTOR * database_bytes)]


def examine(
    session: Session,
    options: DiskOptions,
    side: str,
    sizes: Sizes,
    neighbour: Iterable[NeedDocument] = (),
    given: Iterable[Need] = (),
) -> DiskPlan:
    """The disk plan of a side by ``options['rule']``. sizes: ``measure`` of the source.

    neighbour: for the target, the needs of the source, which count if both servers are on one machine. given: the operator's own needs.
    """
    folders = server_folders.find(session) if side == "target" else ServerFolders()
    if side == "target":
        needs = needs_on_target(sizes, options, folders, _wal_limit(session), _half_done(session, options["incoming"]))
        needs += _needs_of_neighbour(sizes, neighbour)
    else:
        needs = needs_on_source(sizes, options)
    if options["rule"] == "guide":
        needs = needs_by_guide(sizes["database"], side, options["staging_dir"], folders.data)
    needs += given
    return {
        "rule": options["rule"],
        "file_systems": judge(needs),
        "needs": [need.as_dict() for need in needs],
        "guide_bytes": GUIDE_FACTOR * sizes["database"],
        "unknown": ["data directory"] if folders.reason else [],
        "unknown_reason": folders.reason,
    }


def without_database(options: DiskOptions, side: str, size: int | None, given: Iterable[Need]) -> DiskPlan:
    """The disk plan of the operator's own needs, and of the guide's rule when the database's size is given.

    Raises MigrationError ``option_missing`` when both are missing.
    """
    needs = list(given)
    if size is not None and options["rule"] == "guide":
        needs += needs_by_guide(size, side, options["staging_dir"], None)
    if not needs:
        raise MigrationError(
            "There is nothing to check. Set needs, or side and database, or database_bytes with rule 'guide'.",
            "option_missing",
        )
    return {
        "rule": options["rule"],
        "file_systems": judge(needs),
        "needs": [need.as_dict() for need in needs],
        "guide_bytes": None if size is None else GUIDE_FACTOR * size,
        "unknown": [],
        "unknown_reason": "",
    }


def _archive(sizes: Sizes, options: DiskOptions) -> Need:
    size = archive_bytes(sizes["archive"], options["format"], options["compression"]) + sizes["large_objects"]
    final = expand(options["staging_dir"]) / options["migration_id"]
    # An incomplete archive is replaced in place, a complete one is not written again.
    present = sum(map(folder_bytes, (final, layout.partial_folder(final), layout.early_folder(final))))
    return Need(options["staging_dir"], "archive", int(size * ARCHIVE_MARGIN), sizes["table_count"] + 10, present)


def _needs_of_neighbour(sizes: Sizes, needs: Iterable[NeedDocument]) -> list[Need]:
    """The source's needs, if both servers are on this machine."""
    if not sizes["machine"] or sizes["machine"] != file_systems.machine():
        return []
    return [
        replace(Need(**need), use=need["use"] if need["use"] == "archive" else f"source: {need['use']}")
        for need in needs
    ]


def _half_done(session: Session, incoming: str) -> int:
    """Bytes of an earlier attempt's database, which the restore will replace."""
    if find_database(session, incoming) is None:
        return 0
    return database_size(session, incoming)


def _wal_limit(session: Session) -> int:
    return int(session.value(_WAL))
