# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sshd runs on the source for the key of a transfer, whatever that asks for: it serves one archive, and only reads it.

The file is copied into the folder of the gate and runs there alone, without the rest of the core::

    <state_dir>/<migration_id>/gate/
        gate.py        this file
        gate.json      what it serves, until when, and what was made for it
        rsyncd.conf    for rsync as a daemon on the pipe: one module, read-only, nothing outside its folder
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator

SETTINGS = "gate.json"
CONFIGURATION = "rsyncd.conf"
# All that the key may ask for. The first is what rsync asks for when it wants a daemon; it names no path and no option.
SERVE = "rsync --server --daemon ."
KNOCK = "cht.couch2pg knock"
CLOSE = "cht.couch2pg close"
WELCOME = "cht.couch2pg gate"
# The comment of our lines in authorized_keys: which migration, and until when (seconds since 1970).
MARK = re.compile(r"cht\.couch2pg:transfer:([A-Za-z0-9_][A-Za-z0-9._-]*):(\d+)$")
NICE = 10


def mark(migration_id: str, expires: int) -> str:
    """The comment of a line."""
    return f"cht.couch2pg:transfer:{migration_id}:{expires}"


def without_ours(text: str, migration_id: str, now: float) -> str:
    """``authorized_keys`` without our lines of this migration, and without expired ones of any; the rest byte for byte."""
    kept: list[str] = []
    for line in text.splitlines(keepends=True):
        found = MARK.search(line.rstrip("\r\n"))
        if found is None or (found.group(1) != migration_id and int(found.group(2)) > now):
            kept.append(line)
        elif kept and not line.endswith("\n"):
            # The file ended without a newline before our line came.
            kept[-1] = kept[-1].rstrip("\n")
    return "".join(kept)


def with_line(text: str, line: str) -> str:
    """``authorized_keys`` with one more line, which ``without_ours`` can take away again without a trace."""
    return f"{text}\n{line}" if text and not text.endswith("\n") else f"{text}{line}\n"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One at a time changes the files in ``folder``."""
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, text: str) -> None:
    """Replace a file by ``text``, keeping mode and owner: written beside, then renamed."""
    before = path.stat() if path.exists() else None
    descriptor, beside = tempfile.mkstemp(dir=str(path.parent), prefix=".couch2pg-")
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
    """The text of a file, losslessly; empty when there is none."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""


def withdraw(settings: dict[str, Any], now: float) -> bool:
    """Take the key back: its line, and what was made for it. Whether there was something to take."""
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
        # Somebody may have put something else there meanwhile.
        with suppress(OSError):
            keys.parent.rmdir()
    return after != before


def remove_files(folder: Path) -> None:
    """Remove the gate's own folder; a file that isn't ours keeps it."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_file():
                path.unlink()
        folder.rmdir()


def main(folder: Path) -> int:
    """Answer one connection."""
    settings = json.loads(read(folder / SETTINGS))
    asked = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    if time.time() >= settings["expires"]:
        sys.stderr.write("cht.couch2pg: this key has expired. Run the playbook again.\n")
        return 1
    if asked == SERVE:
        os.nice(NICE)
        # Nothing that the other side may have set in the environment goes along.
        environment = {"PATH": os.defpath, "LC_ALL": "C", "COUCH2PG_JOB": str(folder)}
        command = [settings["rsync"], "--server", "--daemon", f"--config={folder / CONFIGURATION}", "."]
        os.execve(settings["rsync"], command, environment)
    if asked == KNOCK:
        sys.stdout.write(f"{WELCOME} {settings['migration_id']}\n")
        return 0
    if asked == CLOSE:
        withdraw(settings, time.time())
        remove_files(folder)
        return 0
    sys.stderr.write("cht.couch2pg: this key only reads the archive of its migration. Refused.\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[0]).resolve().parent))
