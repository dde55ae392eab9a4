# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that belongs to others and is changed for them: its mode and owner stay, and so does a copy of what it was."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ..common.errors import MigrationError
from .files import FILE_MODE, fsync_path, make_private_folder, nearest_existing

FOLDER_MODE = 0o755


@dataclass(frozen=True)
class Change:
    """``path`` gets ``after`` in place of ``before`` (None: there is no such file). A new file has ``mode``."""

    path: Path
    before: str | None = field(repr=False)
    after: str = field(repr=False)
    mode: int = FILE_MODE

    @property
    def needed(self) -> bool:
        """Whether anything differs."""
        return self.before != self.after

    def apply(self, migration_id: str) -> None:
        """Write beside and rename. Raises MigrationError ``not_writable``."""
        # A link stays what it is.
        path = self.path.resolve()
        try:
            _make_folders(path.parent)
            old = path.stat() if path.exists() else None
            if old is not None and self.before is not None:
                # The state before the migration, not that before its last run.
                copy = path.with_name(f"{path.name}.before-{migration_id}")
                if not copy.exists():
                    _write(copy, self.before, old, FILE_MODE)
            _write(path, self.after, old, self.mode)
        except OSError as error:
            raise MigrationError(
                f"{self.path} can't be written: {error.strerror}. Become a user who may (root for systemd's files).",
                "not_writable",
                path=str(self.path),
            ) from error

    def undo(self) -> None:
        """What was there before ``apply``, or nothing; the copy of it stays."""
        path = self.path.resolve()
        if self.before is None:
            path.unlink()
        else:
            _write(path, self.before, path.stat(), self.mode)


def plan(path: Path, after: str, mode: int = FILE_MODE) -> Change:
    """The change that gives ``path`` this text."""
    return Change(path, read(path), after, mode)


def read(path: Path) -> str | None:
    """The file's text, byte for byte; None where there is none. Raises MigrationError ``not_readable``."""
    try:
        return path.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MigrationError(
            f"{path} can't be read: {error.strerror}. Become a user who may read it (root).",
            "not_readable",
            path=str(path),
        ) from error


def open_to_all(path: Path) -> str:
    """What to say of a file with secrets that everyone may read; empty when it's closed, or not there."""
    if path.exists() and path.stat().st_mode & stat.S_IROTH:
        return f"{path} holds passwords and is readable for every user. Close it: chmod o-rwx {path}"
    return ""


def _make_folders(folder: Path) -> None:
    if nearest_existing(folder) != folder:
        make_private_folder(folder)
        # Nothing in it is secret but the files, which have a mode of their own.
        folder.chmod(FOLDER_MODE)


def _write(path: Path, text: str, like: os.stat_result | None, mode: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if like is not None:
                os.fchown(stream.fileno(), like.st_uid, like.st_gid)
            os.fchmod(stream.fileno(), mode if like is None else stat.S_IMODE(like.st_mode))
            stream.write(text.encode(errors="surrogateescape"))
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
    fsync_path(path.parent)
