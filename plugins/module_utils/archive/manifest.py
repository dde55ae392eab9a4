# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of an archive: the size and SHA-256 of every file, written by the dump and compared on every host."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, TypedDict, cast

from ..common import restart
from ..common.counted import counted
from ..common.errors import MigrationError
from ..common.evidence_document import DumpOptions, Evidence
from ..common.evidence_rows import ArchivedFile
from ..host.files import is_unfinished, read_json
from . import layout

FORMAT = 1
READ_BYTES = 1024 * 1024


class Manifest(TypedDict, total=False):
    """``manifest.json``. The manifest of a folder that no dump wrote has ``links``, and none of the keys after ``migration_id``.

    bytes: the sum of all files. links: where each symbolic link leads, by its path; a dump has none.
    snapshot, taken_at: of the dump; options: the evidence's ``dump``.
    """

    format: int
    bytes: int
    files: list[ArchivedFile]
    links: dict[str, str]
    migration_id: str
    database: str
    server_identity: str
    snapshot: str
    taken_at: str
    options: DumpOptions


class SizeDifference(TypedDict):
    """A file whose size in bytes isn't the expected one."""

    path: str
    bytes: int
    expected: int


class DifferencesDocument(TypedDict):
    """``Differences`` for the details of an error. Names that are not UTF-8 are escaped."""

    missing: list[str]
    extra: list[str]
    size_differs: list[SizeDifference]
    sha256_differs: list[str]


@dataclass
class Differences:
    """Differences between an archive and its manifest: paths, by kind of difference. False when there are none."""

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    size: list[SizeDifference] = field(default_factory=list)
    content: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.size or self.content)

    def as_dict(self) -> DifferencesDocument:
        """The differences as JSON types."""
        return {
            "missing": [_shown(path) for path in self.missing],
            "extra": [_shown(path) for path in self.extra],
            "size_differs": [{**entry, "path": _shown(entry["path"])} for entry in self.size],
            "sha256_differs": [_shown(path) for path in self.content],
        }

    def sentence(self) -> str:
        """The first difference of each kind, for an error message."""
        parts = []
        if self.missing:
            parts.append(_some("missing", self.missing))
        if self.extra:
            parts.append(_some("not in the manifest", self.extra))
        if self.size:
            first = self.size[0]
            parts.append(
                f"{_shown(first['path'])} has {counted(first['bytes'], 'byte')} instead of {first['expected']}"
            )
        if self.content:
            parts.append(_some("changed", self.content))
        return "; ".join(parts)


def _some(what: str, paths: list[str]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{what}: {_shown(paths[0])}{more}"


def _shown(path: str) -> str:
    """The path for messages: names of files are bytes, which need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _refuse(error: OSError) -> None:
    """For ``os.walk``, which would leave out a folder that it may not read."""
    if isinstance(error, PermissionError):
        raise MigrationError(
            f"The folder {_shown(str(error.filename))} can't be read by this user, so that its files are not known. Let this user read "
            "it, or run as another user (couch2pg_become_user).",
            "not_readable",
            path=_shown(str(error.filename)),
        ) from error


def list_files(root: Path, links: dict[str, str] | None = None) -> Iterator[tuple[str, os.stat_result]]:
    """Path (relative to ``root``) and stat of every file below ``root`` except the manifest, the marker, and their temporary files.

    links: gets the target of each symbolic link, by its path. Raises MigrationError ``not_plain`` for a special file or, without
    ``links``, a symbolic link; ``not_readable`` for a folder that this user can't read.
    """
    for folder, subfolders, names in os.walk(root, onerror=_refuse):
        subfolders.sort()
        for name in sorted([*names, *(sub for sub in subfolders if Path(folder, sub).is_symlink())]):
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if any(relative == own or is_unfinished(relative, own) for own in (layout.MANIFEST, layout.HALF_DONE)):
                continue
            if links is not None and path.is_symlink():
                links[relative] = os.readlink(path)
                continue
            if path.is_symlink() or not path.is_file():
                raise MigrationError(
                    f"{_shown(str(path))} is not a regular file, and this folder may contain only regular files. Move it away, then "
                    "run again.",
                    "not_plain",
                    path=_shown(str(path)),
                )
            yield relative, path.stat()


def sha256(path: Path, on_bytes: Callable[[int], None] = lambda _size: None) -> str:
    """The SHA-256 of a file as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while True:
            piece = stream.read(READ_BYTES)
            if not piece:
                return digest.hexdigest()
            digest.update(piece)
            on_bytes(len(piece))


def hash_files(
    root: Path, paths: list[str], workers: int, on_bytes: Callable[[int, str], None] = lambda _size, _path: None
) -> dict[str, str]:
    """The SHA-256 of every file, with parallel threads (hashlib releases Python's global lock)."""
    stop = threading.Event()

    def work(path: str) -> str:
        def report(size: int) -> None:
            if stop.is_set():
                raise MigrationError("Hashing was stopped.", "cancelled")
            on_bytes(size, _shown(path))

        return sha256(root / path, report)

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        futures = [pool.submit(work, path) for path in paths]
        try:
            return {path: future.result() for path, future in zip(paths, futures)}
        except BaseException:
            stop.set()
            raise


def create(
    root: Path,
    workers: int,
    on_bytes: Callable[[int, str], None] = lambda _size, _path: None,
    links: dict[str, str] | None = None,
) -> Manifest:
    """Compute the manifest of the folder ``root``; doesn't write it. links: an empty dict if symbolic links are allowed."""
    sizes = {path: stat.st_size for path, stat in list_files(root, links)}
    hashes = hash_files(root, list(sizes), workers, on_bytes)
    listing: Manifest = {
        "format": FORMAT,
        "bytes": sum(sizes.values()),
        "files": [{"path": path, "bytes": sizes[path], "sha256": hashes[path]} for path in sizes],
    }
    if links is not None:
        listing["links"] = links
    return listing


def add_origin(listing: Manifest, evidence: Evidence) -> None:
    """Add the origin of the archive to its manifest: migration, database, server, snapshot and options of the dump."""
    listing["migration_id"] = evidence["migration_id"]
    listing["database"] = evidence["database"]["name"]
    listing["server_identity"] = evidence["server"]["identity"]
    listing["snapshot"] = evidence["snapshot"]
    listing["taken_at"] = evidence["taken_at"]
    listing["options"] = evidence["dump"]


def load(root: Path) -> Manifest:
    """Read the manifest in ``root``.

    Raises MigrationError ``manifest_missing`` or ``manifest_damaged``.
    """
    path = root / layout.MANIFEST
    manifest = read_json(path)
    if manifest is None:
        raise MigrationError(
            f"There is no archive in {root}: its {layout.MANIFEST} is missing. Run the dump first, or check the path.",
            "manifest_missing",
            path=str(path),
        )
    if not _is_manifest(manifest):
        raise MigrationError(
            f"{path} is not a manifest of this collection. Inspect it. If the archive is lost, dump again: {restart.command('dump')}",
            "manifest_damaged",
            path=str(path),
        )
    return cast("Manifest", manifest)


def _is_manifest(manifest: Any) -> bool:
    return (
        isinstance(manifest, dict)
        and manifest.get("format") == FORMAT
        and isinstance(manifest.get("links", {}), dict)
        and isinstance(manifest.get("files"), list)
        and all(
            isinstance(entry, dict)
            and isinstance(entry.get("path"), str)
            and isinstance(entry.get("bytes"), int)
            and isinstance(entry.get("sha256"), str)
            for entry in manifest["files"]
        )
    )


def compare(
    root: Path,
    manifest: Manifest,
    workers: int,
    hashes: bool = True,
    on_bytes: Callable[[int, str], None] = lambda _size, _path: None,
) -> Differences:
    """Compare the files below ``root`` with ``manifest``; without ``hashes`` only names and sizes."""
    expected = {entry["path"]: entry for entry in manifest["files"]}
    known = manifest.get("links")
    links: dict[str, str] | None = None if known is None else {}
    found = {path: stat.st_size for path, stat in list_files(root, links)}
    names, listed = {*found, *(links or {})}, {*expected, *(known or {})}
    differences = Differences(missing=sorted(listed - names), extra=sorted(names - listed))
    same = []
    for path in sorted(set(expected) & set(found)):
        if found[path] != expected[path]["bytes"]:
            differences.size.append({"path": path, "bytes": found[path], "expected": expected[path]["bytes"]})
        else:
            same.append(path)
    if hashes:
        actual = hash_files(root, same, workers, on_bytes)
        differences.content = [path for path in same if actual[path] != expected[path]["sha256"]]
    # Also a link in place of a file, and a file in place of a link.
    kinds = [path for path in sorted(names & listed) if (path in found) != (path in expected)]
    led = [path for path, target in sorted((links or {}).items()) if (known or {}).get(path, target) != target]
    differences.content += kinds + led
    return differences


def raise_if_different(root: Path, listing: Manifest, differences: Differences) -> None:
    """Raise MigrationError ``archive_differs`` with the differences from the manifest ``listing``, if there are any."""
    if differences and "options" not in listing:
        raise MigrationError(
            f"The folder {root} differs from its manifest: {differences.sentence()}. If these changes are right, write the manifest "
            "again (archive_manifest, state: renewed).",
            "archive_differs",
            root=str(root),
            **differences.as_dict(),
        )
    if differences:
        raise MigrationError(
            f"The archive in {root} differs from its manifest: {differences.sentence()}. "
            f"Nothing was restored from it. Transfer it again ({restart.command('transfer')}). If the source's archive is damaged, too, "
            f"dump again ({restart.command('dump')}).",
            "archive_differs",
            root=str(root),
            **differences.as_dict(),
        )


def largest(manifest: Manifest, count: int) -> list[ArchivedFile]:
    """The largest ``count`` files, sorted by path."""
    kept = sorted(manifest["files"], key=lambda entry: (-entry["bytes"], entry["path"]))[:count]
    return sorted(kept, key=lambda entry: str(entry["path"]))


def stamp(root: Path) -> dict[str, list[int] | str]:
    """Size and modification time (ns) of every file, and the links, to detect changes since the files were last hashed."""
    links: dict[str, str] = {}
    files = {path: [stat.st_size, stat.st_mtime_ns] for path, stat in list_files(root, links)}
    return {**files, **links}
