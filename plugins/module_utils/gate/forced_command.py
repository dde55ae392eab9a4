# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forced command that sshd runs on the source for the target's key: it serves one archive, read-only, or one PostgreSQL server.

This file is copied into the gate's folder and runs there alone, without the rest of the core::

    <state_dir>/<migration_id>/gate/
        gate.py        this file
        gate.json      the archive or the server, the expiry time, and the files that were created for the key
        rsyncd.conf    configuration of the rsync daemon on the ssh connection: one read-only module
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, TypedDict

SETTINGS = "gate.json"
CONFIGURATION = "rsyncd.conf"
# The commands that the key may run. The first one is rsync's own for a daemon; it contains no path and no option.
SERVE = "rsync --server --daemon ."
# Connects standard input and output to the server.
CONNECT = "cht.couch2pg connect"
# Sends PROBE_BYTES, so that the target can measure the line.
PROBE = "cht.couch2pg probe"
CHECK = "cht.couch2pg check"
CLOSE = "cht.couch2pg close"
WELCOME = "cht.couch2pg gate"
# The comment of this collection's lines in authorized_keys: migration_id and expiry time (seconds since the epoch).
MARK = re.compile(r"cht\.couch2pg:transfer:([A-Za-z0-9_][A-Za-z0-9._-]*):(\d+)$")
# The environment variable by which the gate's processes are found and ended.
MARKER = "COUCH2PG_JOB"
NICE = 10
CONNECT_SECONDS = 10
CHUNK = 1 << 18
# The start of the name of a temporary file that will replace authorized_keys.
BESIDE = ".couch2pg-keys-"
PROBE_BYTES = 1 << 25


class Settings(TypedDict, total=False):
    """The content of ``gate.json``: either the archive and the path of rsync, or the host and the port of the server.

    expires: seconds since the epoch; authorized_keys: the file with the key's line; made: of ``folder`` (.ssh) and ``file``
    (authorized_keys), what was created for the key.
    """

    migration_id: str
    expires: int
    authorized_keys: str
    made: list[str]
    archive: str
    rsync: str
    server: tuple[str, int]


def mark(migration_id: str, expires: int) -> str:
    """The comment for a line in authorized_keys."""
    return f"cht.couch2pg:transfer:{migration_id}:{expires}"


def without_ours(text: str, migration_id: str, now: float) -> str:
    """``authorized_keys`` without this migration's lines and without expired lines of any migration; the rest is unchanged."""
    kept: list[str] = []
    for line in text.splitlines(keepends=True):
        found = MARK.search(line.rstrip("\r\n"))
        if found is None or (found.group(1) != migration_id and int(found.group(2)) > now):
            kept.append(line)
        elif kept and not line.endswith("\n"):
            # The file had no newline at its end before this line was added.
            kept[-1] = kept[-1].rstrip("\n")
    return "".join(kept)


def with_line(text: str, line: str) -> str:
    """``authorized_keys`` with one more line, so that ``without_ours`` restores the original bytes."""
    return f"{text}\n{line}" if text and not text.endswith("\n") else f"{text}{line}\n"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``folder`` while files in it are changed. Temporary files of killed processes are removed first."""
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in folder.glob(f"{BESIDE}*"):
            left.unlink()
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, text: str) -> None:
    """Replace the content of a file atomically, keeping its mode and owner. The caller must have ``locked`` the folder."""
    before = path.stat() if path.exists() else None
    descriptor, beside = tempfile.mkstemp(dir=str(path.parent), prefix=BESIDE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))
            stream.flush()
            os.fsync(stream.fileno())
        if before is not None:
            Path(beside).chmod(before.st_mode & 0o7777)
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(beside, before.st_uid, before.st_gid)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink()
        raise


def read(path: Path) -> str:
    """The text of a file (undecodable bytes as surrogates); empty when it doesn't exist."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""


def withdraw(settings: Settings, now: float) -> bool:
    """Remove the key's line and the files created for it; returns whether there was a line."""
    keys = Path(settings["authorized_keys"])
    if not keys.parent.is_dir():
        return False
    with locked(keys.parent):
        before = read(keys)
        after = without_ours(before, settings["migration_id"], now)
        if after != before:
            replace(keys, after)
        if not after and "file" in settings["made"]:
            with suppress(FileNotFoundError):
                keys.unlink()
    if "folder" in settings["made"]:
        # Not empty when someone has added files in the meantime.
        with suppress(OSError):
            keys.parent.rmdir()
    return after != before


def remove_files(folder: Path) -> None:
    """Remove the gate's files and its folder; the folder stays when it contains something else."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_file():
                path.unlink()
        folder.rmdir()


def serve_archive(settings: Settings, folder: Path) -> None:
    """Become the rsync daemon of this connection."""
    os.nice(NICE)
    # A new environment, because the client may have set variables.
    environment = {"PATH": os.defpath, "LC_ALL": "C", MARKER: str(folder)}
    arguments = [settings["rsync"], "--server", "--daemon", f"--config={folder / CONFIGURATION}", "."]
    os.execve(settings["rsync"], arguments, environment)


def connect(host: str, port: int) -> None:
    """Connect standard input and output to the server until it ends the connection. ``host``: may be a folder of sockets."""
    if host.startswith("/"):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.connect(f"{host}/.s.PGSQL.{port}")
    else:
        server = socket.create_connection((host, port), CONNECT_SECONDS)
        server.settimeout(None)
    threading.Thread(target=_to_server, args=(server,), daemon=True).start()
    # A failed write means that the client is gone. The server notices that when this process ends and its connection closes.
    with suppress(BrokenPipeError, ConnectionError):
        while True:
            data = server.recv(CHUNK)
            if not data:
                break
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]


def _to_server(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            data = os.read(0, CHUNK)
            if not data:
                break
            server.sendall(data)
    with suppress(OSError):
        server.shutdown(socket.SHUT_WR)


def main(folder: Path) -> int:
    """Serve one connection; returns the exit code."""
    settings: Settings = json.loads(read(folder / SETTINGS))
    command = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    if time.time() >= settings["expires"]:
        sys.stderr.write("cht.couch2pg: this key has expired. Run the playbook again.\n")
        return 1
    if command == SERVE and "archive" in settings:
        serve_archive(settings, folder)
    if command == CONNECT and "server" in settings:
        connect(*settings["server"])
        return 0
    if command == PROBE:
        # The target closes the connection when it knows enough.
        with suppress(BrokenPipeError):
            for _number in range(PROBE_BYTES // CHUNK):
                os.write(1, bytes(CHUNK))
        return 0
    if command == CHECK:
        sys.stdout.write(f"{WELCOME} {settings['migration_id']}\n")
        return 0
    if command == CLOSE:
        withdraw(settings, time.time())
        remove_files(folder)
        return 0
    sys.stderr.write("cht.couch2pg: refused: this key may only read what its migration copies.\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[0]).resolve().parent))
