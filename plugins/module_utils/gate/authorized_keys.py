# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the target's key temporary access to the archive or the server on the source, through authorized_keys (the gate)."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypedDict, cast

from ..common.errors import MigrationError
from ..host import processes, programs
from ..host.files import expand, make_private_folder, read_json, write_json, write_text
from . import forced_command

FOLDER = "gate"
# A running transfer is never silent for longer than this; otherwise the target or the network is gone.
SILENCE_SECONDS = 300
# The first OpenSSH version whose sshd refuses expired keys; with older ones only the forced command does.
EXPIRY_SINCE = (7, 7)
# Settings of sshd that may be on several lines, all of which count.
_LISTS = ("allowusers", "allowgroups", "denyusers", "denygroups")
# A key as ssh-keygen writes it, without a comment. The target sends it, and other text could add more keys.
_PUBLIC_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}")
# Options that affect reading. The rsync module is read-only, so writing is refused anyway.
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


class Wanted(TypedDict):
    """Who gets access to what. server: the host and the port of the server, or None for the archive; hours: how long."""

    state_dir: str
    migration_id: str
    public_key: str
    hours: float
    archive: str | None
    server: tuple[str, int] | None


class Opened(TypedDict):
    """The user who may log in, the file with the key, and the time when it expires."""

    user: str
    authorized_keys: str
    expires: int


def gate_folder(state_dir: str, migration_id: str) -> Path:
    """The folder of a migration's gate."""
    return expand(state_dir) / migration_id / FOLDER


def open_gate(wanted: Wanted, python: str, now: float) -> Opened:
    """Let the holder of the public key read the archive, or connect to the server from this host.

    Raises MigrationError ``bad_key``, ``gate_not_opened`` or ``not_writable``.
    """
    if not _PUBLIC_KEY.fullmatch(wanted["public_key"]):
        raise MigrationError(
            "The target sent something other than a public key, so no access was granted. Check the target for manipulation.",
            "bad_key",
        )
    account = pwd.getpwuid(os.geteuid())
    keys = authorized_keys(account)
    folder = gate_folder(wanted["state_dir"], wanted["migration_id"])
    server = wanted["server"]
    instead = "set couch2pg_method to archive" if server else "set couch2pg_transfer_way to relay"
    expires = int(now + wanted["hours"] * 3600)
    serves = forced_command.Settings(server=server) if server else _serve_archive(wanted["archive"] or "", folder)
    make_private_folder(folder)
    write_text(folder / "gate.py", forced_command.__loader__.get_source(forced_command.__name__))  # type: ignore[union-attr]
    words = ("/usr/bin/env", f"{forced_command.MARKER}={folder}", python, "-I", str(folder / "gate.py"))
    command = " ".join(shlex.quote(word) for word in words).replace('"', '\\"')
    expiry = f',expiry-time="{_local_time(expires)}"' if _ssh_version() >= EXPIRY_SINCE else ""
    line = f'restrict,command="{command}"{expiry} {wanted["public_key"]} {forced_command.mark(wanted["migration_id"], expires)}'
    settings: forced_command.Settings = {
        "migration_id": wanted["migration_id"],
        **serves,
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
                    forced_command.without_ours(forced_command.read(keys), wanted["migration_id"], now), line
                ),
            )
    except OSError as error:
        raise MigrationError(
            f"The key can't be written into {keys}: {error.strerror}. Let {account.pw_name} write there, or {instead}.",
            "gate_not_opened",
            path=str(keys),
        ) from error
    return {"user": account.pw_name, "authorized_keys": str(keys), "expires": expires}


def _serve_archive(path: str, folder: Path) -> forced_command.Settings:
    """Write the configuration of rsync's daemon; returns its part of the gate's settings."""
    archive = expand(path)
    for served in (folder, archive):
        if re.search(r"[\n\r%]", str(served)):
            raise MigrationError(
                f"rsync can't serve the path {served!r}: it contains a line break or a percent sign. Choose another path, "
                "or set couch2pg_transfer_way to relay.",
                "gate_not_opened",
            )
    rsync = programs.locate("rsync", "Install rsync on the source, or set couch2pg_transfer_way to relay.")
    make_private_folder(folder)
    identity = f"uid = {os.geteuid()}\ngid = {os.getegid()}\n" if os.geteuid() == 0 else ""
    write_text(
        folder / forced_command.CONFIGURATION,
        _CONFIGURATION.format(path=archive, identity=identity, silence=SILENCE_SECONDS, refused=REFUSED),
    )
    return {"archive": str(archive), "rsync": rsync}


def close_gate(state_dir: str, migration_id: str, now: float, write: bool) -> bool:
    """Remove the key, end running transfers and remove the gate; returns whether there was one. ``write``: False only checks."""
    folder = gate_folder(state_dir, migration_id)
    keys = authorized_keys(pwd.getpwuid(os.geteuid()))
    # Without the gate's files, or with incomplete ones, the line in authorized_keys may exist anyway.
    settings: forced_command.Settings = {"migration_id": migration_id, "authorized_keys": str(keys), "made": []}
    stored = read_json(folder / forced_command.SETTINGS)
    if isinstance(stored, dict):
        settings = cast("forced_command.Settings", stored)
    text = forced_command.read(Path(settings["authorized_keys"]))
    found = folder.exists() or forced_command.without_ours(text, migration_id, now) != text
    if found and write:
        forced_command.withdraw(settings, now)
        processes.kill_all(processes.of_job(folder))
        forced_command.remove_files(folder)
    return found


def authorized_keys(account: pwd.struct_passwd) -> Path:
    """The default path of ``account``'s authorized_keys, with symbolic links resolved."""
    return Path(os.path.realpath(Path(account.pw_dir) / ".ssh" / "authorized_keys"))


def _others_may_write(stat: os.stat_result, account: pwd.struct_passwd) -> bool:
    """Whether another user may write to the file. On Debian, sshd accepts that the account's own group may, if nobody else is in it."""
    if stat.st_mode & 0o002:
        return True
    if not stat.st_mode & 0o020:
        return False
    own_group = stat.st_gid == account.pw_gid
    members = {name for group in grp.getgrall() if group.gr_gid == stat.st_gid for name in group.gr_mem}
    members |= {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == stat.st_gid}
    return not (own_group and members <= {account.pw_name})


def obstacles(account: pwd.struct_passwd, configuration: Path = Path("/etc/ssh/sshd_config")) -> list[str]:
    """Reasons why sshd would refuse the key of ``account``, as far as an ordinary user can find out."""
    found = []
    name, home = account.pw_name, Path(account.pw_dir)
    if Path(account.pw_shell).name in ("nologin", "false"):
        found.append(f"The shell of {name} is {account.pw_shell}, which prevents a login.")
    settings = _sshd_settings(configuration)
    if settings.get("strictmodes", "yes").lower() != "no":
        found += [
            f"{path} is writable for others, so sshd refuses the keys there (chmod go-w {shlex.quote(str(path))} corrects that)."
            for path in (home, home / ".ssh", authorized_keys(account))
            if path.exists() and _others_may_write(path.stat(), account)
        ]
    if settings.get("pubkeyauthentication", "yes").lower() == "no":
        found.append("sshd doesn't accept keys (PubkeyAuthentication no).")
    places = settings.get("authorizedkeysfile", ".ssh/authorized_keys")
    if not re.search(r"(^|[\s/])\.ssh/authorized_keys(\s|$)", places):
        found.append(f"sshd reads keys from another file (AuthorizedKeysFile {places}).")
    groups = {group.gr_name for group in grp.getgrall() if name in group.gr_mem or group.gr_gid == account.pw_gid}
    for kind, mine in (("Users", {name}), ("Groups", groups)):
        allowed, denied = (settings.get(f"{word}{kind}".lower()) for word in ("Allow", "Deny"))
        if allowed is not None and not _matches(allowed, mine):
            found.append(f"sshd doesn't admit {name} (Allow{kind} {allowed}).")
        elif denied is not None and _matches(denied, mine):
            found.append(f"sshd doesn't admit {name} (Deny{kind} {denied}).")
    return found


def _matches(patterns: str, names: set[str]) -> bool:
    """Whether one of the names is among sshd's patterns, each of which may end with @ and hosts."""
    return any(fnmatchcase(name, pattern.partition("@")[0]) for pattern in patterns.split() for name in names)


def _sshd_settings(path: Path) -> dict[str, str]:
    """The settings before the first ``Match``. Of ``_LISTS``, all lines count; otherwise the first. Empty when the file can't be read."""
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
                for other, its_value in _sshd_settings(included).items():
                    _add(found, other, its_value)
        else:
            _add(found, name, value)
    return found


def _add(found: dict[str, str], name: str, value: str) -> None:
    found[name] = f"{found[name]} {value}" if name in found and name in _LISTS else found.get(name, value)


def _included(folder: Path, patterns: str) -> list[Path]:
    """The files of an ``Include``, in order."""
    found = []
    for pattern in patterns.split():
        root = Path("/") if pattern.startswith("/") else folder
        found += sorted(root.glob(pattern.lstrip("/")))
    return found


def _made(folder: Path, keys: Path) -> list[str]:
    """What this run or an earlier one creates for the key, and removes with it: ``folder`` (.ssh), ``file`` (authorized_keys)."""
    before = read_json(folder / forced_command.SETTINGS)
    made = set(before.get("made", [])) if isinstance(before, dict) else set()
    if not keys.parent.exists():
        made.add("folder")
    if not keys.exists():
        made.add("file")
    return sorted(made)


def _local_time(seconds: int) -> str:
    """The time in the format and time zone of sshd: the host's, even if this process has another TZ."""
    saved = os.environ.pop("TZ", None)
    time.tzset()
    try:
        return time.strftime("%Y%m%d%H%M%S", time.localtime(seconds))
    finally:
        if saved is not None:
            os.environ["TZ"] = saved
            time.tzset()


def _ssh_version() -> tuple[int, int]:
    """The version of OpenSSH on this host; (0, 0) when it is unknown."""
    try:
        said = programs.ask([programs.locate("ssh", ""), "-V"]).stderr
    except MigrationError:
        return (0, 0)
    version = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return (int(version.group(1)), int(version.group(2))) if version else (0, 0)
