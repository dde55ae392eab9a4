# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away PostgreSQL clusters: up in about a second, as root and as an ordinary user, gone without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, TextIO

from .binaries import Binaries
from .places import SupportError, server_account
from .ports import free_port

if TYPE_CHECKING:
    import types

    from psycopg2.extensions import connection as Connection  # noqa: N812

SOCKET_PATH_LIMIT = 107

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
# A crash of the machine may cost the cluster: that is what makes it fast.
FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Cluster:
    """One PostgreSQL cluster in a folder of its own.

    ``with Cluster.create(folder, binaries) as cluster`` starts and destroys it. One process may also create and start
    it, and another ``open`` the folder, stop and destroy it. The folder must be one that the server's user can reach
    (``places.work_folder``).
    """

    host = "127.0.0.1"
    superuser = "postgres"

    def __init__(self, directory: Path, binaries: Binaries, port: int, password: str, socket_directory: Path) -> None:
        self.directory = directory
        self.binaries = binaries
        self.port = port
        self.password = password
        self.socket_directory = socket_directory

    @classmethod
    def create(
        cls, directory: Path, binaries: Binaries, *, durable: bool = False, settings: Mapping[str, str] | None = None
    ) -> Cluster:
        """Make a cluster that is not yet running. ``durable`` writes to disk as a real server does.

        Passwords are asked of everybody, stored as the major version would by default. ``settings`` go to
        postgresql.conf. Raises ``SupportError`` when the folder is not empty or initdb fails.
        """
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise SupportError(f"{directory} is not empty: no cluster is made there.")
        directory.chmod(0o755)
        self = cls(directory, binaries, free_port(), secrets.token_hex(16), directory / "socket")
        # A socket's path may have 107 bytes; a checkout's may be longer.
        if len(os.fsencode(self.socket_directory / ".s.PGSQL.65535.lock")) > SOCKET_PATH_LIMIT:
            self.socket_directory = Path(tempfile.mkdtemp(prefix="pg-"))
        self._save()
        try:
            self._make(durable, settings or {})
        except BaseException:
            self.destroy()
            raise
        return self

    @classmethod
    def open(cls, directory: Path) -> Cluster:
        """The cluster that was created in a folder. Raises ``SupportError`` when there is none."""
        try:
            saved = json.loads((directory / "cluster.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SupportError(f"{directory} has no cluster: {error}") from error
        library_dir = saved["library_dir"] and Path(saved["library_dir"])
        binaries = Binaries(saved["major"], Path(saved["bin_dir"]), library_dir)
        return cls(directory, binaries, saved["port"], saved["password"], Path(saved["socket_directory"]))

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.destroy()

    @property
    def data_directory(self) -> Path:
        """PostgreSQL's data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.directory / "log" / "postgresql.log"

    @property
    def passfile(self) -> Path:
        """A password file (0600) for libpq with every role that was ``remember``-ed."""
        return self.directory / "pgpass"

    @property
    def running(self) -> bool:
        """Whether the server process lives."""
        return self._postmaster() is not None

    def remember(self, user: str, password: str) -> None:
        """Keep a role's password in the password file, so that ``dsn`` and ``connect`` work for it."""
        entry = f"*:{self.port}:*:{user}:"
        known = self.passfile.read_text(encoding="utf-8").splitlines() if self.passfile.exists() else []
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        with _private(self.passfile) as passfile:
            for line in (*(line for line in known if not line.startswith(entry)), entry + escaped):
                passfile.write(f"{line}\n")

    def password_of(self, user: str) -> str:
        """The password that was ``remember``-ed for a role. Raises ``SupportError`` for a role that wasn't."""
        start = f"*:{self.port}:*:{user}:"
        for line in self.passfile.read_text(encoding="utf-8").splitlines():
            if line.startswith(start):
                return re.sub(r"\\(.)", r"\1", line[len(start) :])
        raise SupportError(f"{self.passfile} has no password for {user}.")

    def dsn(self, database: str = "postgres", user: str = superuser, *, by_socket: bool = False) -> str:
        """A libpq connection string, with a password file in place of a password."""
        host = str(self.socket_directory) if by_socket else self.host
        parts = {"host": host, "port": str(self.port), "dbname": database, "user": user, "passfile": str(self.passfile)}
        return " ".join(f"{name}={_quoted(value)}" for name, value in parts.items())

    def connect(self, database: str = "postgres", user: str = superuser, **parameters: Any) -> Connection:
        """A psycopg2 connection in autocommit mode; ``parameters`` are libpq's, for example ``password``."""
        # To destroy a cluster no package may be needed.
        import psycopg2  # noqa: PLC0415

        made: Connection = psycopg2.connect(self.dsn(database, user), **parameters)
        made.autocommit = True
        return made

    def start(self) -> None:
        """Start the server and wait, 60 seconds at most, until it accepts connections; nothing if it runs."""
        if not self.running:
            # A server that was killed leaves these behind, and its number may be somebody else's by now.
            (self.data_directory / "postmaster.pid").unlink(missing_ok=True)
            (self.socket_directory / f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)
            self._pg_ctl("start", "--log", str(self.log))

    def stop(self, mode: str = "fast") -> None:
        """Stop the server (``smart``, ``fast`` or ``immediate``) and wait; nothing if it doesn't run."""
        if self.running:
            self._pg_ctl("stop", "--mode", mode)

    def kill(self) -> None:
        """End every process of the server at once, as a loss of power would; ``start`` recovers."""
        self._end(signal.SIGKILL)

    def destroy(self) -> None:
        """Stop the server and remove everything. Needs no PostgreSQL program; nothing there is fine."""
        # The server leaves no shared memory behind when it is asked, even if rudely.
        postmaster = self._postmaster()
        if postmaster is not None:
            _signal(postmaster, signal.SIGQUIT)
            self._wait_for_end(10)
        self._end(signal.SIGKILL)
        shutil.rmtree(self.socket_directory, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _make(self, durable: bool, settings: Mapping[str, str]) -> None:
        account = server_account()
        for folder, mode in ((self.data_directory, 0o700), (self.socket_directory, 0o755), (self.log.parent, 0o755)):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
            account.give(folder)
        self._initdb()
        values = {
            **SETTINGS,
            **({} if durable else FAST_SETTINGS),
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_directory),
            **settings,
        }
        with (self.data_directory / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            for name, value in values.items():
                quoted = value.replace("'", "''")
                configuration.write(f"{name} = '{quoted}'\n")
        self.remember(self.superuser, self.password)

    def _initdb(self) -> None:
        authentication = "scram-sha-256" if self.binaries.major >= 14 else "md5"
        passwords = self.log.parent / "password"
        with _private(passwords) as file:
            file.write(f"{self.password}\n")
        server_account().give(passwords)
        try:
            self._run(
                "initdb",
                f"--pgdata={self.data_directory}",
                f"--username={self.superuser}",
                f"--pwfile={passwords}",
                f"--auth={authentication}",
                "--encoding=UTF8",
                f"--locale={_locale()}",
                "--no-sync",
            )
        finally:
            passwords.unlink()

    def _pg_ctl(self, *arguments: str) -> None:
        self._run("pg_ctl", *arguments, "--wait", "--timeout=60", "--silent", "--pgdata", str(self.data_directory))

    def _run(self, program: str, *arguments: str) -> None:
        # initdb looks for postgres beside itself, and for a home; a session of its own keeps ^C from the server.
        # Its output goes to a file: a server would hold a pipe open for as long as it lives.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            result = subprocess.run(
                [self.binaries.program(program), *arguments],
                cwd=self.directory,
                env={**self.binaries.environment(), "HOME": str(self.log.parent)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                check=False,
                **server_account().run_as(),
            )
            if result.returncode == 0:
                return
            output.seek(0)
            said = output.read().strip()
        if self.log.is_file():
            said += "\n" + "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
        raise SupportError(f"{program} of PostgreSQL {self.binaries.major} failed: {said}")

    def _save(self) -> None:
        with _private(self.directory / "cluster.json") as file:
            json.dump(
                {
                    "major": self.binaries.major,
                    "bin_dir": str(self.binaries.bin_dir),
                    "library_dir": self.binaries.library_dir and str(self.binaries.library_dir),
                    "port": self.port,
                    "password": self.password,
                    "socket_directory": str(self.socket_directory),
                },
                file,
            )

    def _processes(self) -> list[int]:
        """Every process of this server: all of them work in the data directory, and nothing else does."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() == self.data_directory.resolve():
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    def _postmaster(self) -> int | None:
        try:
            first = (self.data_directory / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0]
        except OSError:
            return None
        return int(first) if first.isdigit() and int(first) in self._processes() else None

    def _end(self, number: signal.Signals) -> None:
        # The postmaster first: it would start others in place of the ended.
        postmaster = self._postmaster()
        if postmaster is not None:
            _signal(postmaster, number)
        for process in self._processes():
            _signal(process, number)
        if not self._wait_for_end(10):
            raise SupportError(f"The processes {self._processes()} of {self.directory} don't end.")

    def _wait_for_end(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self._processes():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


def _signal(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _quoted(value: str) -> str:
    """A value of a libpq connection string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _private(path: Path) -> TextIO:
    """Open a file for writing that only its owner may read, from its first moment on."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8")


def _locale() -> str:
    """C.UTF-8 where the system has it, else C: the same on every machine, whatever its language."""
    listed = subprocess.run(["locale", "-a"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return "C.UTF-8" if {"c.utf8", "c.utf-8"} & {name.lower() for name in listed.stdout.split()} else "C"
