# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills a process before each of its changes of files, one after the other, and checks that the next run ends as if nothing had happened.

Python reports each change to an audit hook before it is made. What is open for writing when the process is killed has no content yet.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import stat
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Callable

_EVENTS = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
)
_WRITES = os.O_WRONLY | os.O_RDWR
MOST = 400
# How a child ends that has an error.
_FAILED = 3


class Crash:
    """Kills this process before its change number ``at`` of something below ``root``, or right after a file was opened for writing.

    log: a file that gets a line for each change. group: all processes of the group are killed.
    """

    def __init__(self, root: Path, at: int, ignored: str = "", log: Path | None = None, group: bool = False) -> None:
        self._root, self._at, self._log, self._group = str(root).rstrip("/"), at, log, group
        self._ignored = re.compile(ignored) if ignored else None
        self._seen = 0
        self._busy = False
        self._lock = threading.RLock()

    def install(self) -> None:
        """From now on, for ever: a hook can't be removed."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy:
            return
        if event == "open":
            path, _mode, flags = arguments
            if isinstance(path, int) or not flags & _WRITES or flags & os.O_TMPFILE == os.O_TMPFILE:
                return
            place = self._place(path, -1)
            if not place:
                return
            self.count(event, self._shown(place))
            if self._seen + 1 == self._at and flags & (os.O_CREAT | os.O_TRUNC):
                self._busy = True
                os.close(os.open(place, flags & ~os.O_EXCL, 0o600))
            self.count("opened", self._shown(place))
        elif event in _EVENTS:
            place = self._place(arguments[1 if event == "os.symlink" else 0], self._folder(event, arguments))
            if place:
                self.count(event, self._shown(place))
        elif event == "subprocess.Popen":
            self.count(event, os.fsdecode(arguments[0]))

    @staticmethod
    def _folder(event: str, arguments: tuple[Any, ...]) -> int:
        """The descriptor of the folder that a relative path is in, or -1."""
        number = 2 if event in ("os.rename", "os.link", "os.mkdir", "os.chmod", "os.symlink") else 1
        number = 3 if event == "os.chown" else number
        found = arguments[number] if len(arguments) > number else -1
        return found if isinstance(found, int) else -1

    def _place(self, path: Any, folder: int) -> str:
        """The absolute path when it is below the root and not ignored, else empty."""
        if isinstance(path, int):
            path, folder = "", path
        base = Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path.cwd()
        absolute = os.path.normpath(base / os.fsdecode(path))
        below = absolute == self._root or absolute.startswith(f"{self._root}/")
        return absolute if below and not (self._ignored and self._ignored.search(absolute)) else ""

    def _shown(self, place: str) -> str:
        return place[len(self._root) + 1 :]

    def count(self, event: str, what: str) -> None:
        """The next change comes."""
        with self._lock:
            self._seen += 1
            if self._log:
                self._write(self._log, f"{event} {what}\n")
            if self._seen == self._at:
                (os.killpg(os.getpgrp(), signal.SIGKILL) if self._group else os.kill(os.getpid(), signal.SIGKILL))

    def _write(self, log: Path, line: str) -> None:
        busy, self._busy = self._busy, True
        try:
            with log.open("a", encoding="utf-8") as stream:
                stream.write(line)
        finally:
            self._busy = busy


def run(root: Path, act: Callable[[Path], Any], at: int = 0, ignored: str = "") -> tuple[bool, Any]:
    """``act(root)`` in a process of its own, which is killed at the change number ``at``. Returns whether it ended, and its value."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        code = _FAILED
        try:
            Crash(root, at, ignored).install() if at else None
            value = act(root)
            os.write(writing, pickle.dumps(value))
            code = 0
        except BaseException:  # noqa: BLE001 - shown by the test
            os.write(writing, pickle.dumps(traceback.format_exc()))
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read()
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False, None
    value = pickle.loads(said)
    if os.WEXITSTATUS(status):
        raise AssertionError(f"killed at change {at}: {value}")
    return True, value


def tree(root: Path) -> dict[str, str]:
    """What is below ``root``: modes, owners, and contents of files."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode, owner = path.lstat().st_mode, path.lstat().st_uid
        what = (
            "" if stat.S_ISDIR(mode) else os.readlink(path) if stat.S_ISLNK(mode) else path.read_text(errors="replace")
        )
        found[str(path.relative_to(root))] = f"{stat.filemode(mode)} {owner} {what}"
    return found


def check_every_moment(
    root: Path,
    make: Callable[[Path], object],
    act: Callable[[Path], Any],
    same: Callable[[dict[str, str]], dict[str, str]] = dict,
    ignored: str = "",
) -> int:
    """Kill ``act`` before each change in turn; ``act`` alone must then lead to the same value and files as without a kill.

    make: fills the empty folder ``root`` as it is before. same: removes from what ``tree`` found what differs from run to run.
    ignored: a regular expression for paths whose changes are not tried.
    Returns the number of changes.
    """

    def begin() -> None:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        make(root)

    begin()
    _ended, expected = run(root, act)
    wanted = same(tree(root))
    for number in range(1, MOST):
        begin()
        ended, _value = run(root, act, number, ignored)
        if ended:
            return number - 1
        left = sorted(tree(root))
        try:
            _ended, value = run(root, act)
        except AssertionError as error:
            raise AssertionError(f"after a kill at change {number}, which left {left}: {error}") from None
        found = same(tree(root))
        if (value, found) != (expected, wanted):
            differs = {
                name: (found.get(name), wanted.get(name))
                for name in {*found, *wanted}
                if found.get(name) != wanted.get(name)
            }
            raise AssertionError(
                f"after a kill at change {number}, which left {left}: {value!r} instead of {expected!r}, files {differs}"
            )
    raise AssertionError(f"more than {MOST} changes")
