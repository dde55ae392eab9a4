# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on the copy that only its owner can reach: it recovers, is verified, and is stopped for the promotion.

It listens on a socket in a private folder only, and has a configuration of its own: with that of the source it would archive
into the source's archive, run its scheduled jobs, and follow its publications.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from pathlib import Path
from typing import Callable, Mapping, TypedDict

from ..common.errors import MigrationError
from ..host import processes, programs
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session
from .folders import Folders, Owner

PORT = 50432
START_SECONDS = 300.0
STOP_SECONDS = 600
# A server that was started has its lock file by then, or has ended.
APPEARS_SECONDS = 15.0
POLL_SECONDS = 0.1
# The source's own postgresql.auto.conf (ALTER SYSTEM), in the copy's work folder.
SETTINGS_OF_SOURCE = "postgresql.auto.conf.source"
LOG_LINES = 12
# Recovery demands that these are not less than on the source.
_AS_ON_SOURCE = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
# Libraries that start work of their own, which must not run in a copy.
_WITH_WORKERS = ("pg_cron", "pg_partman_bgw", "pglogical", "bdr", "pg_auto_failover", "pgautofailover", "repmgr")
_END_OTHERS = """
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
"""


class Login(TypedDict):
    """How modules connect to a private server: their options of these names."""

    login_unix_socket: str
    login_port: int
    login_user: str


def source_settings(session: Session) -> dict[str, str]:
    """The settings of the source that the private server needs, and the name of its superuser."""
    names = [*_AS_ON_SOURCE, "shared_preload_libraries"]
    rows = session.rows("SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY(%s)", [names])
    superuser = session.value("SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10")
    return {**{row["name"]: row["setting"] for row in rows}, "superuser": str(superuser)}


class PrivateServer:
    """The server on one data directory. bin_dir: the folder of its programs. settings: of ``source_settings``."""

    def __init__(
        self, bin_dir: Path, data: Path, folders: Folders, socket: Path, owner: Owner, settings: Mapping[str, str]
    ) -> None:
        self.bin_dir, self.data, self.socket = bin_dir, data, socket
        self._folders, self._owner, self._settings = folders, owner, settings

    def connection(self, database: str) -> ConnectionSettings:
        """The connection of its owner, or of root, to one of its databases."""
        return ConnectionSettings(
            database,
            port=PORT,
            user=self._settings["superuser"],
            unix_socket=str(self.socket),
            maintenance_database="postgres",
        )

    @property
    def running(self) -> bool:
        """Whether its postmaster runs."""
        return self._postmaster() is not None

    def configure(self, more: Mapping[str, str] | None = None) -> None:
        """Write its configuration; ``more``: further settings. The source's own ``postgresql.auto.conf`` is moved aside.

        A ``postgresql.auto.conf`` of the target, which an interrupted promotion left there, is emptied: it would override these settings.
        """
        folder = self._owner.folder(self._folders.configuration)
        libraries = [name.strip() for name in self._settings["shared_preload_libraries"].split(",") if name.strip()]
        values = {
            **{name: self._settings[name] for name in _AS_ON_SOURCE},
            "shared_preload_libraries": ",".join(name for name in libraries if name not in _WITH_WORKERS),
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(self.socket),
            "unix_socket_permissions": "0700",
            "hba_file": str(folder / "pg_hba.conf"),
            "ident_file": str(folder / "pg_ident.conf"),
            "logging_collector": "off",
            "log_destination": "stderr",
            "log_min_messages": "warning",
            "lc_messages": "C",
            "archive_mode": "off",
            "hot_standby": "off",
            "max_logical_replication_workers": "0",
            "autovacuum": "off",
            "max_wal_size": "4GB",
            "checkpoint_timeout": "30min",
            "shared_buffers": "128MB",
            **(more or {}),
        }
        lines = [f"{name} = '{_quoted(value)}'\n" for name, value in values.items()]
        self._owner.write(folder / "postgresql.conf", "".join(lines))
        # Only the folder's owner and root reach the socket.
        self._owner.write(folder / "pg_hba.conf", "local all all trust\n")
        self._owner.write(folder / "pg_ident.conf", "")
        own = self.data / "postgresql.auto.conf"
        aside = self._folders.work / SETTINGS_OF_SOURCE
        if own.exists() and not aside.exists():
            own.rename(aside)
        self._owner.write(own, "")

    def start(self) -> None:
        """Start it where it doesn't run; returns before it accepts connections.

        Raises MigrationError ``server_not_started``.
        """
        if self.running:
            return
        # Lock files of a server that was killed; the process number in them may belong to another process now. The files protect the
        # data from processes that this server left running, so those are ended first.
        processes.kill_all(left_over(self.data))
        for path in (self.data / "postmaster.pid", self.socket / f".s.PGSQL.{PORT}.lock"):
            path.unlink(missing_ok=True)
        words = ["start", "--no-wait", "--silent", f"--log={self._folders.log}", f"--pgdata={self.data}"]
        self._pg_ctl([*words, "-o", option(self._folders)])

    def ready(self) -> None:
        """Start it if it doesn't run, wait until it accepts connections, and end the sessions that a killed attempt left.

        Raises MigrationError ``server_not_started``.
        """
        if not self.running:
            self.configure()
            self.start()
        self.wait()
        with Session(self.connection("postgres")) as session:
            session.execute(_END_OTHERS)

    def wait(self, on_wait: Callable[[], None] = lambda: None, seconds: float | None = START_SECONDS) -> None:
        """Wait until it accepts connections. Raises MigrationError ``server_not_started`` when it ended, or after ``seconds``."""
        started = time.monotonic()
        seen = False
        while True:
            reason = ""
            try:
                with Session(self.connection("postgres")):
                    return
            except MigrationError as error:
                reason = error.message
            running = self.running
            if not running and (seen or time.monotonic() > started + APPEARS_SECONDS):
                raise MigrationError(
                    f"The server on the copy in {self.data} has ended: {self.last_error()} Fix the cause, then run again. Log: "
                    f"{self._folders.log}",
                    "server_not_started",
                    log=self.log_lines()[-LOG_LINES:],
                )
            if seconds is not None and time.monotonic() > started + seconds:
                raise MigrationError(
                    f"The server on the copy in {self.data} accepts no connections after {seconds:.0f} s: {reason} Find the reason in "
                    f"{self._folders.log}, then run again.",
                    "server_not_started",
                )
            seen = seen or running
            on_wait()
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop it cleanly, with a checkpoint; does nothing when it doesn't run."""
        if self.running:
            self._pg_ctl(
                ["stop", "--mode=fast", "--wait", f"--timeout={STOP_SECONDS}", "--silent", f"--pgdata={self.data}"]
            )

    def end(self) -> None:
        """End it at once, without the programs of PostgreSQL; it recovers at its next start."""
        end_on(self.data)

    def log_lines(self) -> list[str]:
        """The lines of its log; none without a log."""
        try:
            return self._folders.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def last_error(self) -> str:
        """The last error in its log, or else the last lines."""
        said = self.log_lines()
        lines = [line for line in said if any(word in line for word in ("FATAL:", "PANIC:", "ERROR:"))]
        # A message about a wrong command line has none of these words.
        return lines[-1] if lines else " ".join(said[-2:]) or "it gave no reason."

    def _postmaster(self) -> int | None:
        return postmaster(self.data)

    def _pg_ctl(self, words: list[str]) -> None:
        program = str(self.bin_dir / "pg_ctl")
        # Without the variable that marks processes of the job, because the server must outlive the job.
        environment = {name: value for name, value in programs.environment().items() if name != processes.MARKER}
        said: list[str] = []
        command = self._owner.command([program, *words], self._folders.work)
        if programs.run(command, {**environment, "HOME": str(self._folders.work)}, said.append):
            raise MigrationError(
                f"{program} {words[0]} failed for the copy in {self.data}: {' '.join(said) or self.last_error()} Fix the cause, then run "
                f"again. Log: {self._folders.log}",
                "server_not_started",
                log=self.log_lines()[-LOG_LINES:],
            )

    def describe(self) -> Login:
        """Where it is."""
        return {"login_unix_socket": str(self.socket), "login_port": PORT, "login_user": self._settings["superuser"]}


def option(folders: Folders) -> str:
    """The server's option that names its configuration file, quoted for programs that pass it to a shell."""
    return f"-c config_file={shlex.quote(str(folders.configuration / 'postgresql.conf'))}"


def runs_on(data: Path) -> bool:
    """Whether a server runs on this data directory."""
    return postmaster(data) is not None


def postmaster(data: Path) -> int | None:
    """The process of the server that runs on this data directory; None without one.

    The working directory of a postmaster is its data directory. That distinguishes it from another process with the same number.
    """
    try:
        first = (data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0]
        process = int(first)
        working = Path(f"/proc/{process}/cwd").resolve()
    except (OSError, ValueError):
        return None
    return process if working == data and processes.is_alive(process) else None


def left_over(data: Path) -> list[int]:
    """Processes of servers on this data directory. After the postmaster was killed, they run until they have finished their work."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and Path(os.readlink(entry / "cwd")) == data
                and processes.name(int(entry.name)) == "postgres"
            ):
                found.append(int(entry.name))
        except OSError:
            # The process has ended, or belongs to another user.
            continue
    return found


def end_on(data: Path) -> None:
    """End the server on this data directory at once, and the processes that a killed server left there."""
    process = postmaster(data)
    if process is not None:
        # The postmaster ends its child processes itself.
        os.kill(process, signal.SIGQUIT)
        deadline = time.monotonic() + processes.TERM_SECONDS
        while processes.is_alive(process) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    processes.kill_all(left_over(data))


def _quoted(value: str) -> str:
    return value.replace("'", "''")
