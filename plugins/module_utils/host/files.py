# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Atomic and durable files: write a temporary file beside, fsync it, rename it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shlex
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Iterator

from ..common.errors import MigrationError
from . import processes

FOLDER_MODE = 0o700
FILE_MODE = 0o600
# The end of the name of a file that is about to replace another one.
UNFINISHED = ".part"


def expand(path: str) -> Path:
    """The absolute path, with ``~`` expanded for the current user."""
    # Symbolic links are kept, so that messages show the path that the operator gave.
    return Path.cwd() / Path(path).expanduser()


def make_private_folder(path: Path, mode: int = FOLDER_MODE) -> None:
    """Create ``path`` (0700, or ``mode``) and its missing parents; an existing folder keeps its mode.

    Raises MigrationError ``not_writable`` when the folder can't be created or written.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        # One by one, because mkdir(parents=True) ignores ``mode`` for the parents.
        for folder in reversed(missing):
            folder.mkdir(mode=mode, exist_ok=True)
    except OSError as error:
        raise MigrationError(
            f"The folder {path} can't be created: {error.strerror}. Create it for this user, or choose another folder.",
            "not_writable",
            path=str(path),
        ) from error
    check_writable(path)


def nearest_existing(path: Path) -> Path:
    """``path`` itself or its closest parent that exists."""
    while not path.exists():
        path = path.parent
    return path


def check_writable(path: Path) -> None:
    """Raise MigrationError ``not_writable`` unless this user can create ``path`` or write into it."""
    existing = nearest_existing(path)
    if not existing.is_dir():
        raise MigrationError(
            f"{existing} is not a folder. Choose another path than {path}.", "not_writable", path=str(path)
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise MigrationError(
            f"The folder {existing} is not writable for this user. Change its owner, or choose another path than {path}.",
            "not_writable",
            path=str(path),
        )
    if os.statvfs(existing).f_blocks == 0:
        raise MigrationError(
            f"{existing} is a virtual file system such as /proc, which can't hold files. Choose another path than {path}.",
            "not_writable",
            path=str(path),
        )


def moving_away(path: Path) -> str:
    """The sentence that tells the operator how to move ``path`` away."""
    return f"Move it away ({shlex.join(['mv', str(path), f'{path}.kept'])}), then run again."


def fsync_path(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems don't support fsync on folders.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def fsync_tree(root: Path) -> None:
    """fsync every file and folder below ``root``, and ``root`` itself."""
    for folder, _subfolders, names in os.walk(root):
        for name in names:
            fsync_path(Path(folder, name))
        fsync_path(Path(folder))


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace ``path`` (0600) by ``text``, atomically; ``durable``: wait until it is on the disk.

    Waiting takes milliseconds, so files that have no use after a crash of the host are written without ``durable``.
    """
    with replacing(path, durable=durable) as stream:
        # The text may contain names of files, whose bytes need not be UTF-8.
        stream.write(text.encode(errors="surrogateescape"))


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A new file (0600) that replaces ``path`` at the end of the block; ``durable`` as in ``write_text``."""
    remove_unfinished(path)
    # Another thread or process may write the same file at this moment.
    prefix = f".{path.name}.{os.getpid()}-"
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=UNFINISHED)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        fsync_path(path.parent)


def unfinished(path: Path) -> list[Path]:
    """The temporary files of runs that write ``path``, or were killed while they did."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return sorted(found for found in beside if is_unfinished(found.name, path.name))


def is_unfinished(name: str, of: str) -> bool:
    """Whether a file with this name was about to replace the file ``of`` in the same folder."""
    # As ``replacing`` names it: the process, and what mkstemp adds. Another user's .NAME.part is none.
    return re.fullmatch(rf"\.{re.escape(of)}\.\d+-\w+{re.escape(UNFINISHED)}", name) is not None


def remove_unfinished(path: Path) -> None:
    """Remove the temporary files of runs that were killed while they wrote ``path``."""
    for left in unfinished(path):
        process = left.name[len(f".{path.name}.") :].partition("-")[0]
        if not processes.is_alive(int(process)):
            left.unlink(missing_ok=True)


def write_json(path: Path, data: Any, *, durable: bool = True) -> None:
    """Replace ``path`` (0600) by ``data`` as JSON, as ``write_text`` does."""
    write_text(path, json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n", durable=durable)


def read_json(path: Path, remedy: str = "Inspect it, move it away, then run again.") -> Any:
    """The JSON in ``path``, or None when there is no such file. remedy: what to do about a damaged one.

    Raises MigrationError ``damaged_file`` when the file isn't JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise MigrationError(
            f"{path} is damaged: it isn't JSON ({error}). {remedy}",
            "damaged_file",
            path=str(path),
        ) from error


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` among the processes of this host, waiting for it; the file is kept."""
    make_private_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a folder with its contents, if it exists."""
    if path.exists():
        shutil.rmtree(path)
