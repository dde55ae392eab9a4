# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the copy of a server is built: beside the data directory that is in use, on the same file system.

::

    <data directory>_incoming_<migration_id>         the copy: a data directory of the target's major version
    <data directory>_incoming_<migration_id>_work/   what is needed until it is promoted
        old/            the copy of the source's major version, before pg_upgrade
        wal/            the WAL after the base backup
        socket/         socket of the private server
        conf/           its configuration
        server.log      what it says
        steps.json      the completed steps
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from ..common.errors import MigrationError
from ..host import programs
from ..host.files import read_json, replacing, write_json
from ..host.system_account import may_write_command
from .done import Done, Of, StoredSteps

# Bytes of a socket's path, without the terminating zero.
SOCKET_PATH_BYTES = 107
STEPS = "steps.json"
# Where the source's own configuration files are kept in the copy.
SOURCE_FILES = "couch2pg_source_configuration"
_PLAIN = re.compile(r"[\w./+@:-]+")


@dataclass(frozen=True)
class Owner:
    """The user who owns the data directory, and as whom its programs run: PostgreSQL's refuse to run as root."""

    uid: int
    gid: int

    @classmethod
    def of(cls, path: Path) -> Owner:
        """The owner of ``path``."""
        found = path.stat()
        return cls(found.st_uid, found.st_gid)

    def command(self, words: Sequence[str], folder: Path) -> list[str]:
        """The command that runs ``words`` as this user. folder: its working directory if root runs it, readable for the user."""
        if os.geteuid() == self.uid:
            return list(words)
        setpriv = programs.locate("setpriv", "Install util-linux, or set couch2pg_become_user to the server's user.")
        user = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return [setpriv, *user, "env", f"--chdir={folder}", *words]

    def own(self, path: Path) -> None:
        """Give the file or folder to this user."""
        if os.geteuid() != self.uid:
            # A user that may write to the folder above could have put a link there.
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def has_private(self, path: Path) -> bool:
        """Whether ``path`` is a folder (0700) of this user or of the one who runs this, and not a link to one."""
        try:
            found = path.lstat()
        except FileNotFoundError:
            return False
        # A run that was killed before it gave the folder away leaves one of its own user.
        ours = found.st_uid in (self.uid, os.geteuid())
        return ours and stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o777 == 0o700

    def folder(self, path: Path) -> Path:
        """Create the folder (0700) of this user where it is missing. Raises MigrationError ``not_writable``."""
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            self.own(path)
        except OSError as error:
            raise MigrationError(
                f"The folder {path} can't be created: {error.strerror}. The copy is made beside the data directory that is in use, so "
                f"that both can change their names. {self._remedy(path, error)}",
                "not_writable",
                path=str(path),
            ) from error
        return path

    def _remedy(self, path: Path, error: OSError) -> str:
        if isinstance(error, PermissionError):
            return f"Let the server's user write there. As root, run: {may_write_command(self.uid, path.parent)}"
        if isinstance(error, FileExistsError):
            return f"Move what is there away: mv {shlex.quote(str(path))} {shlex.quote(f'{path}.old')}"
        return "Remove the cause, then run again."

    def write(self, path: Path, text: str) -> None:
        """Write a private file (0600) of this user."""
        # It has its owner as soon as it has its name: a run that is killed must not leave one that the owner can't read.
        with replacing(path) as stream:
            if os.geteuid() != self.uid:
                os.fchown(stream.fileno(), self.uid, self.gid)
            stream.write(text.encode())


@dataclass(frozen=True)
class Folders:
    """The folders of one migration's copy."""

    incoming: Path

    @classmethod
    def beside(cls, data_directory: Path, migration_id: str) -> Folders:
        """Those beside the data directory that is in use."""
        # A link would be renamed instead of the folder.
        real = data_directory.resolve()
        return cls(real.with_name(f"{real.name}_incoming_{migration_id}"))

    @property
    def work(self) -> Path:
        """What is needed until the copy is promoted."""
        return self.incoming.with_name(f"{self.incoming.name}_work")

    @property
    def old(self) -> Path:
        """The copy of the source's major version, where that is not the target's."""
        return self.work / "old"

    @property
    def wal(self) -> Path:
        """The WAL after the base backup."""
        return self.work / "wal"

    @property
    def configuration(self) -> Path:
        """Configuration files of the private server."""
        return self.work / "conf"

    @property
    def log(self) -> Path:
        """The private server's log."""
        return self.work / "server.log"

    def make_socket_folder(self, steps: Steps, owner: Owner) -> Path:
        """The folder of the private server's socket, which only its owner can enter.

        A temporary folder is used if the path is too long, or has a special character, such as the comma that separates names of hosts.
        """
        folder = self.work / "socket"
        if _PLAIN.fullmatch(str(folder)) and len(os.fsencode(folder / ".s.PGSQL.65535.lock")) <= SOCKET_PATH_BYTES:
            return owner.folder(folder)
        known = steps.done.get("socket")
        # After a restart has emptied the temporary folder, another user could have made a folder or link with this name.
        if not known or not owner.has_private(Path(known)):
            # Recorded before the folder is made, so that the folder can be removed after a kill.
            known = str(Path(tempfile.gettempdir()) / f"couch2pg-{secrets.token_hex(8)}")
            steps.mark({"socket": known})
        return owner.folder(Path(known))


class Steps:
    """The completed steps of one copy. ``of`` names the migration and the source.

    done: what they found; only ``mark`` and ``forget`` change it.
    """

    def __init__(self, folders: Folders, of: Of) -> None:
        self._path = folders.work / STEPS
        self._of = of
        stored = read_json(self._path)
        if isinstance(stored, dict) and stored.get("of") != of:
            raise MigrationError(
                f"{folders.work} holds the copy of another server or database. Look at it, move it and {folders.incoming} away, then run "
                "again.",
                "different_work",
                path=str(folders.work),
                stored=stored.get("of"),
            )
        self.done: Done = stored["done"] if isinstance(stored, dict) else {}

    def mark(self, done: Done) -> None:
        """Record that these steps are done."""
        self.done.update(done)
        self._write()

    def forget(self) -> None:
        """Forget all completed steps."""
        self.done = {}
        self._write()

    def _write(self) -> None:
        stored: StoredSteps = {"of": self._of, "done": self.done}
        write_json(self._path, stored)
