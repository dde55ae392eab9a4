# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle: one file with couch2pg but without its settings, to install it on another host.

It contains a description, the application and, where needed, Node.js. Equal deployments have equal bundles, byte for byte.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pwd
import stat
import tarfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Callable, Iterator, Mapping, cast

from ...common.errors import MigrationError
from ...host.files import FILE_MODE, replacing

FORMAT = 1
NAME = "couch2pg-bundle.tar.gz"
DESCRIPTION, APP, NODE = "bundle.json", "app", "node"
# Ansible's fetch reads the whole file into the memory of the controller.
LARGEST = 256 * 1024 * 1024
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Description:
    """The description in a bundle. Fields that a kind of deployment doesn't have are empty."""

    kind: str
    app_dir: str = ""
    unit: str = ""
    # Text by file name, relative to systemd's folder of units or to the project's folder.
    texts: Mapping[str, str] = field(default_factory=dict)
    # Files with settings that the deployment needs, and that are not in the bundle.
    env_files: tuple[str, ...] = ()
    # The program that the unit runs, and its working directory.
    program: str = ""
    work_dir: str = ""
    node: str = ""
    node_version: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    project_dir: str = ""
    service: str = ""
    image: str = ""


@dataclass(frozen=True)
class Written:
    """Size and SHA-256 of a written bundle, and the number of files in it."""

    size: int
    sha256: str
    files: int


class _Sink:
    """A stream that counts and hashes what is written to it, and passes it on to another stream, if there is one."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        if self.size > LARGEST:
            raise MigrationError(
                f"The bundle of couch2pg's folder exceeds {LARGEST >> 20} MB, so the folder contains more than couch2pg. Remove what "
                "doesn't belong there, or install couch2pg on the target yourself.",
                "bundle_too_large",
            )
        self.sha256.update(data)
        if self._stream is not None:
            self._stream.write(data)
        return len(data)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()


def write(
    stream: IO[bytes] | None, description: Description, skip: Callable[[Path], bool], node: Path | None = None
) -> Written:
    """Write a bundle into ``stream``; without a stream, only compute its size and SHA-256.

    skip: whether to leave out a path of the application's folder. Raises MigrationError ``bundle_too_large`` or
    ``not_readable``.
    """
    sink = _Sink(stream)
    count = 0
    try:
        with ExitStack() as stack:
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=cast(Any, sink), mtime=0, compresslevel=6)
            stack.enter_context(packed)
            tar = stack.enter_context(tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT))
            text = json.dumps({"format": FORMAT, **asdict(description)}, indent=1, sort_keys=True).encode()
            head = tarfile.TarInfo(DESCRIPTION)
            head.size, head.mode = len(text), FILE_MODE
            tar.addfile(head, io.BytesIO(text))
            if description.app_dir:
                root = Path(description.app_dir).resolve()
                for path in _below(root, skip):
                    count += _add(tar, path, APP if path == root else f"{APP}/{path.relative_to(root)}")
            if node is not None:
                count += _add(tar, node.resolve(), NODE)
    except OSError as error:
        what = error.filename or "couch2pg's application"
        raise MigrationError(
            f"{what} can't be packed: {error.strerror or error}. Become a user who may read it, free space for the bundle if "
            "needed, and run again.",
            "not_readable",
        ) from error
    return Written(sink.size, sink.sha256.hexdigest(), count)


def save(path: Path, description: Description, skip: Callable[[Path], bool], node: Path | None = None) -> Written:
    """Replace ``path`` (0600) by a complete bundle. Raises MigrationError as ``write`` does."""
    with replacing(path) as stream:
        return write(stream, description, skip, node)


def sha256(path: Path) -> str:
    """The SHA-256 of the file; empty when it doesn't exist."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(_BLOCK), b""):
                digest.update(block)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


def _below(root: Path, skip: Callable[[Path], bool]) -> Iterator[Path]:
    yield root
    for here, folders, names in os.walk(root, onerror=_raise):
        folders[:] = sorted(name for name in folders if not skip(Path(here, name)))
        yield from (Path(here, name) for name in folders)
        yield from (Path(here, name) for name in sorted(names) if not skip(Path(here, name)))


def _raise(error: OSError) -> None:
    raise error


def _add(tar: tarfile.TarFile, path: Path, name: str) -> int:
    """Add a path; returns 1 for a file, else 0. A file with two hard links becomes two files. Pipes and sockets are left out."""
    info, has = tarfile.TarInfo(name), path.lstat()
    info.mode, info.mtime = stat.S_IMODE(has.st_mode) & 0o777, int(has.st_mtime)
    try:
        info.uname = pwd.getpwuid(has.st_uid).pw_name
    except KeyError:
        info.uname = ""
    if stat.S_ISDIR(has.st_mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif stat.S_ISLNK(has.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
        tar.addfile(info)
    elif stat.S_ISREG(has.st_mode):
        with path.open("rb") as content:
            info.size = os.fstat(content.fileno()).st_size
            tar.addfile(info, content)
        return 1
    return 0


@dataclass(frozen=True)
class Member:
    """A member of a bundle. ``name`` is its path in the application's folder, empty for the folder itself."""

    name: str
    info: tarfile.TarInfo
    content: IO[bytes] | None


class Bundle:
    """A bundle from another host, whose content is not trusted. Methods raise MigrationError ``damaged_file``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def description(self) -> Description:
        """The description in the bundle."""
        with self._open() as tar:
            first = tar.next()
            content = tar.extractfile(first) if first is not None and first.name == DESCRIPTION else None
            try:
                said = json.load(content) if content is not None else None
            except ValueError:
                said = None
        if not isinstance(said, dict) or said.pop("format", None) != FORMAT:
            raise self._damaged("its first member is not a description")
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
        }
        try:
            return Description(**known)
        except TypeError as error:
            raise self._damaged("another version of this collection wrote its description") from error

    def application(self) -> Iterator[Member]:
        """The application's folder, then its content."""
        links: set[str] = set()
        for info, content in self._members():
            parts = info.name.split("/")
            if parts[0] != APP:
                continue
            name = "/".join(parts[1:])
            above = {"/".join(parts[1:end]) for end in range(2, len(parts))}
            if ".." in parts or "" in parts or above & links or not (info.isreg() or info.isdir() or info.issym()):
                raise self._damaged(f"{info.name} leads out of the application's folder")
            if info.issym():
                links.add(name)
            yield Member(name, info, content)

    @property
    def node(self) -> Iterator[IO[bytes]]:
        """The Node.js program, if the bundle contains one."""
        for info, content in self._members():
            if info.name == NODE and content is not None:
                yield content

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        with self._open() as tar:
            for info in tar:
                yield info, tar.extractfile(info) if info.isreg() else None

    @contextmanager
    def _open(self) -> Iterator[tarfile.TarFile]:
        try:
            with tarfile.open(self.path, "r:gz") as tar:
                yield tar
        except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise self._damaged(str(error)) from error
        except FileNotFoundError as error:
            if error.filename not in (None, str(self.path)):
                raise
            raise self._damaged("the file doesn't exist") from error

    def _damaged(self, reason: str) -> MigrationError:
        return MigrationError(
            f"{self.path} is not a bundle of couch2pg: {reason}. Remove it, and run again from the beginning.",
            "damaged_file",
            path=str(self.path),
        )


def same(content: IO[bytes], path: Path) -> bool:
    """Whether the file at ``path`` has this content."""
    with path.open("rb") as other:
        while True:
            here, there = content.read(_BLOCK), other.read(_BLOCK)
            if here != there:
                return False
            if not here:
                return True


def copy(content: IO[bytes], path: Path) -> None:
    """Write a new file with this content, and sync it to the disk."""
    with path.open("xb") as stream:
        while True:
            block = content.read(_BLOCK)
            if not block:
                break
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
