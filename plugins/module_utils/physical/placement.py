# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the target's server lives: its data directory, its own configuration, and what stops and starts it."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

from ..common.errors import MigrationError
from ..host import services
from ..host.file_systems import is_mount_point
from ..host.programs import major
from ..host.system_account import may_write_command
from ..postgres import server_folders
from ..postgres.connection import ConnectionSettings
from ..postgres.session import Session
from . import one_folder_down

DEBIAN, SYSTEMD, COMMANDS = "debian", "systemd", "commands"
# Commands for ``find`` when nothing will stop or start the server.
NOBODY = {"stop": ["false"], "start": ["false"]}
INSTEAD = "Set couch2pg_method to stream, or to archive."
_DEBIAN_CONFIGURATION = re.compile(r"/etc/postgresql/(\d+)/([^/]+)/postgresql\.conf")
_SETTINGS = """
SELECT name, setting FROM pg_catalog.pg_settings
WHERE name IN ('config_file', 'hba_file', 'ident_file', 'port', 'log_directory')
"""


@dataclass(frozen=True)
class Placement:
    """A server on this host.

    data: its data directory, without symbolic links; kind: what stops and starts it, DEBIAN, SYSTEMD or COMMANDS.
    stop, start: the commands for that; unit: of systemd, or empty; owner: the name of the data directory's user.
    bin_dir: the folder of the running server's programs; pid: its main process.
    """

    data: Path
    config_file: Path
    hba_file: Path
    ident_file: Path
    log_directory: str
    port: int
    owner: str
    major: int
    bin_dir: Path
    pid: int
    kind: str
    unit: str
    stop: tuple[str, ...]
    start: tuple[str, ...]

    def beside(self, suffix: str) -> Path:
        """A folder beside the data directory, on the same file system."""
        return self.data.with_name(f"{self.data.name}_{suffix}")

    def incoming(self, migration_id: str) -> Path:
        """Where the method puts the copy of the source's data directory."""
        return self.beside(f"incoming_{migration_id}")


def find(session: Session, commands: Mapping[str, Sequence[str] | None] | None = None) -> Placement:
    """Where the session's server lives on this host.

    commands: the operator's own ``stop`` and ``start``, each a list of words, for a server that systemd doesn't run.
    Raises MigrationError ``container``, ``not_here``, ``not_owner``, ``mount_point`` or ``no_service``.
    """
    data = data_directory(session)
    settings = {row["name"]: row["setting"] for row in session.rows(_SETTINGS)}
    owner = _owner(data)
    pid = _main_process(data)
    bin_dir = _bin_dir(session, pid)
    config_file = Path(settings["config_file"])
    kind, unit, stop, start = _service(pid, owner, data, config_file, bin_dir, commands or {})
    here = Placement(
        data=data,
        config_file=config_file,
        hba_file=Path(settings["hba_file"]),
        ident_file=Path(settings["ident_file"]),
        log_directory=settings["log_directory"],
        port=int(settings["port"]),
        owner=owner,
        major=major(session.version),
        bin_dir=bin_dir,
        pid=pid,
        kind=kind,
        unit=unit,
        stop=stop,
        start=start,
    )
    _check_exchangeable(here)
    return here


def of(settings: ConnectionSettings, commands: Mapping[str, Sequence[str] | None] | None = None) -> Placement:
    """``find`` with a session of its own on the maintenance database."""
    with Session(settings.maintenance) as session:
        return find(session, commands)


def data_directory(session: Session) -> Path:
    """The data directory of the session's server on this host, without symbolic links.

    Raises MigrationError ``container``, ``not_here`` or ``not_owner``.
    """
    if session.settings.container:
        raise MigrationError(
            f"The target's server runs in the container {session.settings.container}, and the method physical can't replace the data "
            f"directory of a container. {INSTEAD}",
            "container",
        )
    folders = server_folders.find(session)
    if folders.data is None:
        raise MigrationError(
            f"The method physical replaces the target's data directory, and it can't be reached: {folders.reason}. {INSTEAD} "
            "Where the server does run on this host, connect through its socket as a superuser (couch2pg_login_host: '').",
            "not_here",
        )
    data = Path(os.path.realpath(folders.data.parent))
    _check_user(session, data)
    return data


def _owner(data: Path) -> str:
    number = data.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        raise MigrationError(
            f"The owner of {data} (uid {number}) has no name on this host, as for a server in a container. {INSTEAD}",
            "container",
        ) from None


def _main_process(data: Path) -> int:
    return int((data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])


def _check_user(session: Session, data: Path) -> None:
    """Raise MigrationError ``not_owner`` unless this user is root, or the one as whom the server runs."""
    try:
        # Read from /proc, because this user may have no access to the folder of the data directory.
        number = Path(f"/proc/{session.value('SELECT pg_catalog.pg_backend_pid()')}").stat().st_uid
    except OSError:
        return
    if os.geteuid() not in (0, number):
        owner, here = (_name_of(user) for user in (number, os.geteuid()))
        raise MigrationError(
            f"The method physical works on {data}, which belongs to {owner!r}, and this user is {here!r}. Set couch2pg_become_user: "
            f"{owner} for this host, with couch2pg_become: true.",
            "not_owner",
        )


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _check_exchangeable(here: Placement) -> None:
    """Raise MigrationError unless a folder beside the data directory can be put in its place by renaming both."""
    data, parent = here.data, here.data.parent
    moved = one_folder_down.commands(data, here.config_file, here.unit, here.stop, here.start)
    moved = f" Or move the data directory one folder down. As root, run: {moved}" if moved else ""
    if is_mount_point(data):
        raise MigrationError(
            f"The data directory {data} is a file system of its own, so no copy can be put in its place by renaming. {INSTEAD}{moved}",
            "mount_point",
        )
    if not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
        # A service must not get the root of the file system.
        remedy = (
            f"{INSTEAD}{moved}"
            if parent == parent.parent
            else f"Allow it. As root, run: {may_write_command(data.stat().st_uid, parent)}"
        )
        raise MigrationError(
            f"{here.owner!r} can't make a folder in {parent}, where the copy must lie beside {data.name}. {remedy}",
            "not_writable",
        )


def _bin_dir(session: Session, pid: int) -> Path:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).parent
    except OSError:
        return Path(session.value("SELECT setting FROM pg_catalog.pg_config WHERE name = 'BINDIR'"))


def _service(
    pid: int, owner: str, data: Path, config_file: Path, bin_dir: Path, commands: Mapping[str, Sequence[str] | None]
) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    # Without a value where the option is not set: Ansible adds all its keys.
    stop, start = commands.get("stop"), commands.get("start")
    if stop or start:
        if not stop or not start:
            raise MigrationError(
                "couch2pg_physical_commands needs both stop and start, each a list of words, such as "
                f"{_suggestion(owner, data, config_file, bin_dir)}.",
                "no_service",
            )
        return COMMANDS, "", tuple(map(str, stop)), tuple(map(str, start))
    unit = services.unit_of(pid)
    debian = _DEBIAN_CONFIGURATION.fullmatch(str(config_file))
    if unit:
        kind = DEBIAN if debian else SYSTEMD
        return kind, unit, ("systemctl", "stop", unit), ("systemctl", "start", unit)
    if debian:
        # A host without systemd, or a server that was started by hand. Where systemd runs, pg_ctlcluster calls it.
        words = ("pg_ctlcluster", *debian.groups())
        return DEBIAN, "", (*words, "stop", "--mode", "fast"), (*words, "start")
    raise MigrationError(
        f"The target's server in {data} (process {pid}) is not the main process of a systemd service, so its commands are unknown. Set "
        f"couch2pg_physical_commands: {_suggestion(owner, data, config_file, bin_dir)}. Or set couch2pg_method "
        "to stream or to archive.",
        "no_service",
    )


def _suggestion(owner: str, data: Path, config_file: Path, bin_dir: Path) -> str:
    """A value of couch2pg_physical_commands that works for a server that was started by hand."""
    return services.suggestion(*hand_commands(owner, data, config_file, bin_dir))


def hand_commands(owner: str, data: Path, config_file: Path, bin_dir: Path) -> tuple[list[str], list[str]]:
    """The commands that stop and start a server with pg_ctl as its owner. As root, they change to the owner with runuser."""
    user = ["runuser", "-u", owner, "--"] if os.getuid() == 0 else []
    control = [*user, str(bin_dir / "pg_ctl"), "--pgdata", str(data), "--wait"]
    elsewhere = [] if config_file.parent == data else ["--options", f"-cconfig_file={shlex.quote(str(config_file))}"]
    return [*control, "--mode", "fast", "stop"], [*control, *elsewhere, "--log", f"{data}.log", "start"]


def words(command: Sequence[str]) -> str:
    """A command for a message, ready to paste."""
    return " ".join(shlex.quote(word) for word in command)
