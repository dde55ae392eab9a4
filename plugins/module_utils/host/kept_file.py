# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change a file that belongs to the operator: keep its mode and owner, and a copy of the original beside it."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ..common.errors import MigrationError
from .files import FILE_MODE, make_private_folder, nearest_existing, replacing

FOLDER_MODE = 0o755


@dataclass(frozen=True)
class Change:
    """Replace the text ``before`` of ``path`` (None: the file doesn't exist) by ``after``. A new file gets ``mode``."""

    path: Path
    before: str | None = field(repr=False)
    after: str = field(repr=False)
    mode: int = FILE_MODE

    @property
    def needed(self) -> bool:
        """Whether the text differs."""
        return self.before != self.after

    def apply(self, migration_id: str) -> None:
        """Write the file atomically and keep a copy of the original. Raises MigrationError ``not_writable``."""
        # Write to the target of a symbolic link, so that the link is kept.
        path = self.path.resolve()
        try:
            _make_folders(path.parent)
            old = path.stat() if path.exists() else None
            if old is not None and self.before is not None:
                # Keep the copy of the first run: the state before the migration.
                copy = path.with_name(f"{path.name}.before-{migration_id}")
                if not copy.exists():
                    _write(copy, self.before, old, FILE_MODE)
            _write(path, self.after, old, self.mode)
        except OSError as error:
            raise MigrationError(
                f"{self.path} can't be written: {error.strerror}. {_remedy(error)}",
                "not_writable",
                path=str(self.path),
            ) from error

    def undo(self) -> None:
        """Restore the state before ``apply``: the old text, or no file. The copy of the original is kept."""
        path = self.path.resolve()
        if self.before is None:
            path.unlink()
        else:
            _write(path, self.before, path.stat(), self.mode)


def plan(path: Path, after: str, mode: int = FILE_MODE) -> Change:
    """The change that gives ``path`` the text ``after``."""
    return Change(path, read(path), after, mode)


def read(path: Path) -> str | None:
    """The file's text (undecodable bytes as surrogates); None when it doesn't exist. Raises MigrationError ``not_readable``."""
    try:
        return path.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MigrationError(
            f"{path} can't be read: {error.strerror}. {_remedy(error)}",
            "not_readable",
            path=str(path),
        ) from error


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "Free disk space, then run again."
    if error.errno not in (errno.EACCES, errno.EPERM):
        return "Correct that, or the path, then run again."
    return (
        "Set a user that has the right, such as root: couch2pg_app_become_user for files of couch2pg; {become: true} in "
        "couch2pg_cutover_steps for a step of a cutover. Then run again."
    )


def open_to_all(path: Path) -> str:
    """A warning when a file with secrets is readable for every user; empty when it isn't, or doesn't exist."""
    if path.exists() and path.stat().st_mode & stat.S_IROTH:
        return f"{path} holds passwords and is readable for every user. Close it: chmod o-rwx {shlex.quote(str(path))}"
    return ""


def _make_folders(folder: Path) -> None:
    # Other users may read the folder, because the files in it are private. The umask is set so that mkdir already gives the final mode:
    # a run that is killed before a later chmod would leave a folder that other users can't read.
    if nearest_existing(folder) == folder:
        return
    umask = os.umask(0o777 ^ FOLDER_MODE)
    try:
        make_private_folder(folder, FOLDER_MODE)
    finally:
        os.umask(umask)


def _write(path: Path, text: str, like: os.stat_result | None, mode: int) -> None:
    with replacing(path) as stream:
        if like is not None:
            os.fchown(stream.fileno(), like.st_uid, like.st_gid)
        os.fchmod(stream.fileno(), mode if like is None else stat.S_IMODE(like.st_mode))
        stream.write(text.encode(errors="surrogateescape"))
