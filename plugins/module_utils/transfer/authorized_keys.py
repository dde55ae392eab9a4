# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate on the source of a transfer: opened for one key, one folder and some hours, and closed again."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import time
from pathlib import Path
from typing import Any

from ..common.errors import MigrationError
from ..host import processes, programs
from ..host.files import expand, make_private_folder, read_json, write_json, write_text
from . import forced_command

FOLDER = "gate"
# The other side is gone, or its network: a transfer that goes on is never silent for so long.
SILENCE_SECONDS = 300
# From 7.7 on sshd itself refuses an expired key; before that, only the gate does.
KNOWS_EXPIRY = (7, 7)
# As ssh-keygen writes it, without a comment. The target says it: anything else could let in more than this one key.
_PUBLIC_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}")
# All that reads; writing is refused by the module anyway.
REFUSED = "delete* remove-source-files backup* write-batch log-file* copy-links copy-unsafe-links"

_CONFIGURATION = """use chroot = no
log file = /dev/null
timeout = {silence}
{identity}[archive]
path = {path}
read only = yes
list = no
munge symlinks = yes
refuse options = {refused}
"""


def gate_folder(state_dir: str, migration_id: str) -> Path:
    """Where the gate of a migration keeps its files."""
    return expand(state_dir) / migration_id / FOLDER


def open_gate(options: dict[str, Any], python: str, now: float) -> dict[str, Any]:
    """Let the holder of ``public_key`` read the archive until it expires.

    Raises MigrationError ``bad_key``, ``gate_not_opened`` or ``not_writable``.
    """
    if not _PUBLIC_KEY.fullmatch(options["public_key"]):
        raise MigrationError(
            "What the target sent is not a public key; nobody was let in. Look who has changed something on the target.",
            "bad_key",
        )
    account = pwd.getpwuid(os.geteuid())
    keys = authorized_keys(account)
    folder = gate_folder(options["state_dir"], options["migration_id"])
    archive = expand(options["archive"])
    expires = int(now + options["hours"] * 3600)
    for path in (folder, archive):
        if re.search(r"[\n\r%]", str(path)):
            raise MigrationError(
                f"The path {path} can't be served: it has a line break or a percent sign. Choose another one, "
                "or set couch2pg_transfer_way to relay.",
                "gate_not_opened",
            )
    rsync = programs.locate("rsync", "Install rsync on the source, or set couch2pg_transfer_way to relay.")
    make_private_folder(folder)
    write_text(folder / "gate.py", forced_command.__loader__.get_source(forced_command.__name__))  # type: ignore[union-attr]
    identity = f"uid = {account.pw_uid}\ngid = {account.pw_gid}\n" if os.geteuid() == 0 else ""
    write_text(
        folder / forced_command.CONFIGURATION,
        _CONFIGURATION.format(path=archive, identity=identity, silence=SILENCE_SECONDS, refused=REFUSED),
    )
    command = " ".join(shlex.quote(word) for word in (python, "-I", str(folder / "gate.py"))).replace('"', '\\"')
    expiry = f',expiry-time="{_local_time(expires)}"' if _ssh_version() >= KNOWS_EXPIRY else ""
    line = f'restrict,command="{command}"{expiry} {options["public_key"]} {forced_command.mark(options["migration_id"], expires)}'
    settings = {
        "migration_id": options["migration_id"],
        "archive": str(archive),
        "rsync": rsync,
        "expires": expires,
        "authorized_keys": str(keys),
        "made": _made(folder, keys),
    }
    write_json(folder / forced_command.SETTINGS, settings)
    try:
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        with forced_command.locked(keys.parent):
            forced_command.replace(
                keys,
                forced_command.with_line(
                    forced_command.without_ours(forced_command.read(keys), options["migration_id"], now), line
                ),
            )
    except OSError as error:
        raise MigrationError(
            f"The key can't be written into {keys}: {error.strerror}. Let {account.pw_name} write there, "
            "or set couch2pg_transfer_way to relay.",
            "gate_not_opened",
            path=str(keys),
        ) from error
    return {"user": account.pw_name, "authorized_keys": str(keys), "expires": expires}


def close_gate(state_dir: str, migration_id: str, now: float, write: bool) -> bool:
    """Take the key back, end what is still served, and remove the gate; whether there was one."""
    folder = gate_folder(state_dir, migration_id)
    settings = read_json(folder / forced_command.SETTINGS)
    keys = authorized_keys(pwd.getpwuid(os.geteuid()))
    if not isinstance(settings, dict):
        # The files are gone, or were never complete; a line may be there all the same.
        settings = {"migration_id": migration_id, "authorized_keys": str(keys), "made": []}
    text = forced_command.read(Path(settings["authorized_keys"]))
    found = folder.exists() or forced_command.without_ours(text, migration_id, now) != text
    if found and write:
        forced_command.withdraw(settings, now)
        processes.kill_all(processes.of_job(folder))
        forced_command.remove_files(folder)
    return found


def authorized_keys(account: pwd.struct_passwd) -> Path:
    """Where sshd looks for the keys of ``account``, unless it is told otherwise; a link is followed."""
    return Path(os.path.realpath(Path(account.pw_dir) / ".ssh" / "authorized_keys"))


def obstacles(account: pwd.struct_passwd, configuration: Path = Path("/etc/ssh/sshd_config")) -> list[str]:
    """What would keep sshd from taking the key of ``account``, as far as an ordinary user can see it."""
    found = []
    name, home = account.pw_name, Path(account.pw_dir)
    if Path(account.pw_shell).name in ("nologin", "false"):
        found.append(f"The shell of {name} is {account.pw_shell}, so that nobody can log in as that user.")
    found += [
        f"{folder} is writable for others, for which sshd refuses every key there (StrictModes)."
        for folder in (home, home / ".ssh")
        if folder.is_dir() and folder.stat().st_mode & 0o022
    ]
    settings = _sshd_settings(configuration)
    if settings.get("pubkeyauthentication", "yes").lower() == "no":
        found.append("sshd takes no keys (PubkeyAuthentication no).")
    places = settings.get("authorizedkeysfile", ".ssh/authorized_keys")
    if not re.search(r"(^|[\s/])\.ssh/authorized_keys(\s|$)", places):
        found.append(f"sshd looks for keys elsewhere (AuthorizedKeysFile {places}).")
    groups = {group.gr_name for group in grp.getgrall() if name in group.gr_mem or group.gr_gid == account.pw_gid}
    for setting, mine in (("AllowUsers", {name}), ("AllowGroups", groups)):
        allowed = settings.get(setting.lower())
        if allowed is not None and not mine & set(allowed.split()):
            found.append(f"sshd lets only some in ({setting} {allowed}).")
    return found


def _sshd_settings(path: Path) -> dict[str, str]:
    """The settings that stand before any ``Match``; those that can't be read are unknown. The first one counts."""
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        words = line.strip().split(None, 1)
        if len(words) < 2 or words[0].startswith("#"):
            continue
        name, value = words[0].lower(), words[1].strip()
        if name == "match":
            break
        if name == "include":
            for included in _included(path.parent, value):
                found = {**_sshd_settings(included), **found}
        else:
            found.setdefault(name, value)
    return found


def _included(folder: Path, patterns: str) -> list[Path]:
    """The files that an ``Include`` means, in their order."""
    found = []
    for pattern in patterns.split():
        root = Path("/") if pattern.startswith("/") else folder
        found += sorted(root.glob(pattern.lstrip("/")))
    return found


def _made(folder: Path, keys: Path) -> list[str]:
    """What will be made for the key, or was by an earlier run, and goes with it."""
    before = read_json(folder / forced_command.SETTINGS)
    made = set(before.get("made", [])) if isinstance(before, dict) else set()
    if not keys.parent.exists():
        made.add("folder")
    if not keys.exists():
        made.add("file")
    return sorted(made)


def _local_time(seconds: int) -> str:
    """As sshd reads it: in the time zone of the host, whatever this process was told."""
    told = os.environ.pop("TZ", None)
    time.tzset()
    try:
        return time.strftime("%Y%m%d%H%M%S", time.localtime(seconds))
    finally:
        if told is not None:
            os.environ["TZ"] = told
            time.tzset()


def _ssh_version() -> tuple[int, int]:
    """The version of OpenSSH here; (0, 0) where it doesn't say."""
    try:
        said = programs.ask([programs.locate("ssh", ""), "-V"]).stderr
    except MigrationError:
        return (0, 0)
    version = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return (int(version.group(1)), int(version.group(2))) if version else (0, 0)
